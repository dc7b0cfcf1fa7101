FROM alpine
ENV who=app
USER $who:1000
