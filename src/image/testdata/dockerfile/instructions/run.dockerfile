FROM alpine
RUN echo $HOME
RUN ["echo", "$HOME"]
RUN --network=none   make   all && \
    # why
    make install
