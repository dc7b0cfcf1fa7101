FROM full
CMD ["new"]
USER other
WORKDIR below
ENV A=changed N=new
LABEL l=2
EXPOSE 81
VOLUME /v2
