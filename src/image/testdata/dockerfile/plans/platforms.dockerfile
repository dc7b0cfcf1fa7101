FROM --platform=$BUILDPLATFORM golang AS cross
ARG TARGETARCH
RUN GOARCH=$TARGETARCH go build
FROM --platform=linux/amd64 alpine AS fixed
FROM --platform=$TARGETPLATFORM alpine
COPY --from=cross /x /x
COPY --from=fixed /y /y
