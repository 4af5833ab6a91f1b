#!/usr/bin/env bash
# Compares two CSV files by their sorted lines: sorted.sh OLD NEW FOLDER
#
# Right only for files without line breaks in cells and without quotes in the key, which are the
# first three columns. Prints how many records were inserted, updated and deleted.
set -euo pipefail
export LC_ALL=C
old=$1 new=$2 folder=$3

mkdir -p "$folder"
sort -T "$folder" "$old" >"$folder/old" &
sort -T "$folder" "$new" >"$folder/new"
wait $!
# What only the new file has is indented by a tab.
comm -3 "$folder/old" "$folder/new" | awk -F, '
    { key = $1 FS $2 FS $3 }
    sub(/^\t/, "", key) { after[key]; next }
    { before[key] }
    END {
        for (key in after) if (key in before) updates++; else inserts++
        for (key in before) if (!(key in after)) deletes++
        printf "inserts=%d\nupdates=%d\ndeletes=%d\n", inserts, updates, deletes
    }'
