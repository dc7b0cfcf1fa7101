FROM alpine
ENV A=x B=$A
