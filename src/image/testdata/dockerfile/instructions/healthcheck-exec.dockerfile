FROM alpine
HEALTHCHECK cmd ["probe", "-q"]
