FROM alpine AS base
FROM base
RUN two
