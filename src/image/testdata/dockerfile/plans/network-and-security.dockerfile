FROM alpine
RUN a
RUN --network=host b
RUN --network=none c
RUN --network=default d
RUN --security=insecure e
RUN --security=sandbox f
