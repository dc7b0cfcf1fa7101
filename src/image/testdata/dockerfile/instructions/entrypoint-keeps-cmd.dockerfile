FROM alpine
CMD ["a"]
ENTRYPOINT exec app
