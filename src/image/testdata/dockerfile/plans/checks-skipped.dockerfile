# check=skip=JSONArgsRecommended,StageNameCasing
FROM alpine AS Loud
CMD serve
# check=skip=all
ENV SECRET=x
ENV TOKEN=x
