FROM alpine
CMD ["serve", "--name", "a \"b\"\n"]
