FROM alpine:3.20
WORKDIR /src
COPY . .
RUN make
CMD ["/src/app"]
