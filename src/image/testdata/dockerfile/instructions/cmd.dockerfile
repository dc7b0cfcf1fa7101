FROM alpine
ENTRYPOINT ["/entry"]
CMD serve --port $PORT
