FROM alpine
CMD [ -f /x ] && cat /x
