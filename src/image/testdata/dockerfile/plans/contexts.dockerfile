FROM alpine AS base
RUN never
FROM docker.io/library/debian:latest
COPY --from=base /x /x
COPY --from=files /y /y
RUN --mount=from=files,target=/f true
