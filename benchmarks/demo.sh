#!/bin/sh
# What `make demo` runs: the main job on a sample collection, or on the folder named by PHOTOS.
# BIN is the folder of the programs. All output goes to ./demo.
set -eu

hashae="$BIN/hashae"
mkdir -p demo

if [ -n "${PHOTOS:-}" ]; then
    if [ ! -d "$PHOTOS" ]; then
        echo "make demo: there is no folder '$PHOTOS'; give a folder of pictures: make demo PHOTOS=folder" >&2
        exit 2
    fi
    pictures=$PHOTOS
    # A collection for each folder, so that one report does not speak of another folder.
    db="demo/photos-$(printf %s "$(cd "$PHOTOS" && pwd -P)" | cksum | cut -d ' ' -f 1).db"
else
    pictures=demo/pictures
    db=demo/collection.db
    "$BIN/python" benchmarks/demo.py write "$pictures"
fi

"$hashae" dedup "$pictures" --db "$db" --report demo/report.html

if [ -z "${PHOTOS:-}" ]; then
    # Nothing has changed since the run above, so this one only prints the same groups for a program to read.
    "$hashae" dedup "$pictures" --db "$db" --json >demo/report.json
    echo
    "$BIN/python" benchmarks/demo.py check demo/report.json "$pictures"
    query="$hashae query 'demo/pictures/cropped/picture 01.jpg' -k 5 --db $db"
    next="$hashae dedup ~/Pictures"
else
    query="$hashae query A-PICTURE.jpg -k 5 --db $db"
    next="$hashae dedup '$PHOTOS' --db $db --csv duplicates.csv"
fi

cat <<TEXT

The report, to open in a browser: demo/report.html

Next:
  $hashae serve --open duplicates --db $db
      look at them side by side, decide, move to the trash, bring back
  $query
      the most similar pictures of the collection
  $hashae stats --db $db
      what the collection holds and how good its code is
  $next
      duplicates in $([ -n "${PHOTOS:-}" ] && echo "the same folder, as a table; only what changed is read again" || echo "your own pictures")
TEXT

# Whoever sits at a terminal of a desktop only has to say yes.
if [ -t 0 ] && [ -t 1 ] && { [ "$(uname)" = Darwin ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; }; then
    printf '\nLook at them in the browser now? Nothing is touched before you have seen what would happen. [Y/n] '
    read -r answer
    case $answer in
    [nN]*) ;;
    *) exec "$hashae" serve --open duplicates --db "$db" --port 0 ;;
    esac
fi
