FROM golang:1.22 AS builder
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -o /app .

FROM unused-image AS never
RUN exit 1

FROM builder AS test
RUN go test ./...

FROM scratch
COPY --from=builder /app /app
COPY --from=0 --chown=1:2 /etc/passwd /etc/
COPY --from=busybox:1.36 /bin/busybox /bin/sh
ENTRYPOINT ["/app"]
