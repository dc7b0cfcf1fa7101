FROM alpine
ENV A=1 B="two words" C=three\ words D='$A' E="$A" F=${MISSING:-none}
ENV A=2 G=$A H="$A$B" PATH=/opt/bin:$PATH
ENV OLD way of  writing "it"
ENV I="${B%% *}" J=${B/two/three} K=\$A EMPTY=
