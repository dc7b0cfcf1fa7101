FROM alpine
WORKDIR /w
ENV who=app
COPY a b* dir/ ./to/
COPY --chown=$who:0 --chmod=644 --link ["a b", "/x/"]
