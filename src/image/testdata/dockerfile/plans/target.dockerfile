FROM alpine AS Base
RUN one
FROM base AS middle
RUN two
FROM middle AS last
RUN three
