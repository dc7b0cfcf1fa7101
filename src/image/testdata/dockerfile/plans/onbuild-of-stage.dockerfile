FROM alpine AS base
ONBUILD RUN first
ONBUILD ENV A=1
RUN base
FROM base AS child
RUN child $A
FROM child
RUN grandchild
