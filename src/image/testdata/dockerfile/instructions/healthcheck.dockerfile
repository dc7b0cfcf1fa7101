FROM alpine
HEALTHCHECK --interval=5s --timeout=1m30s --start-period=500ms --start-interval=1s --retries=3 \
  CMD curl -f http://localhost/ || exit 1
