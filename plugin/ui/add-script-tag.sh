#!/bin/sh
# Adds Perclip's script tag to CVAT's page. Runs at each start of the stock UI container (nginx runs what lies in
# /docker-entrypoint.d); running it again changes nothing. Whatever goes wrong, CVAT starts.
set -u
root=${PERCLIP_HTML:-/usr/share/nginx/html}
page=$root/index.html
script=$root/perclip.js

give_up() {
    echo "perclip: $1; CVAT starts without Perclip" >&2
    rm -f "$page.perclip"
    exit 0
}

[ -r "$script" ] || give_up "$script is missing: mount plugin/ui/perclip.js there"
grep -q '</head>' "$page" 2>/dev/null || give_up "$page is missing or has no </head>"

# The version in the address lets browsers load a new file at once.
tag="<script src=\"/perclip.js?v=$(md5sum "$script" | cut -c 1-8)\""
for setting in "function-id=${PERCLIP_FUNCTION_ID:-}" "short-side=${PERCLIP_SHORT_SIDE:-}" "propagate-key=${PERCLIP_KEY:-}"; do
    value=${setting#*=}
    case $value in
        '') ;;
        *[!A-Za-z0-9._+,-]*) echo "perclip: $setting is left out: letters, digits and . _ + , - only" >&2 ;;
        *) tag="$tag data-${setting%%=*}=\"$value\"" ;;
    esac
done
tag="$tag></script>"

# Written beside the page and moved over it: a page is never half there.
cp -p "$page" "$page.perclip" 2>/dev/null &&
    sed -e 's|<script src="/perclip\.js[^>]*></script>||g' -e "s|</head>|$tag</head>|" "$page" >"$page.perclip" &&
    mv -f "$page.perclip" "$page" ||
    give_up "$page cannot be written"
echo "perclip: added to the page"
