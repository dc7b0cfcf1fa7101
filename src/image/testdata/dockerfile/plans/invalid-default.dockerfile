# syntax=example.com/other:1
ARG BASE
ARG TAG=bad!
FROM $BASE AS a
FROM alpine:$TAG
RUN --mount=type=secret,id=pass,env=PASS use $PASS a
