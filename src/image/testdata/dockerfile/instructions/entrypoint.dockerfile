FROM alpine
ENTRYPOINT ["/bin/app", "--fast"]
