FROM alpine
ENV v=1
LABEL a=b "c d"="e f" multi="one \
two" version=$v quoted="\"x\""
LABEL a=again
LABEL old style label
