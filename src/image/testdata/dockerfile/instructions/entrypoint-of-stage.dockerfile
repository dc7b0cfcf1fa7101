FROM alpine AS base
CMD ["a"]
FROM base
ENTRYPOINT ["b"]
