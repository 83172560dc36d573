#!/bin/sh
# Adds Perclip's script tag to CVAT's page. Runs at each start of the stock UI container (nginx runs what lies in
# /docker-entrypoint.d); running it again changes nothing. Whatever goes wrong, CVAT starts.
#
# Where the page is root's and this is not root (CVAT's UI image since 2.44), nginx adds the tag on the way instead: its
# configuration belongs to its user there.
set -u
root=${PERCLIP_HTML:-/usr/share/nginx/html}
conf=${PERCLIP_NGINX:-/etc/nginx/conf.d}/perclip.conf
page=$root/index.html
script=$root/perclip.js

give_up() {
    echo "perclip: $1; CVAT starts without Perclip" >&2
    rm -f "$page.perclip" "$conf" "$conf.off" 2>/dev/null
    exit 0
}

[ -r "$script" ] || give_up "$script is missing or cannot be read: mount plugin/ui/perclip.js there"
case $(ls -lL "$script") in
    ???????r*) ;; # readable by all, so by nginx's workers
    *) give_up "nginx may not read $script: chmod a+r the file that is mounted there" ;;
esac
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
if cp -p "$page" "$page.perclip" 2>/dev/null &&
    sed -e 's|<script src="/perclip\.js[^>]*></script>||g' -e "s|</head>|$tag</head>|" "$page" >"$page.perclip" &&
    mv -f "$page.perclip" "$page"; then
    rm -f "$conf" 2>/dev/null
    echo "perclip: added to the page"
    exit 0
fi
rm -f "$page.perclip" 2>/dev/null

hint="run the service as root (user: \"0\"), or let another nginx add the tag (plugin/ui/README.md)"
if grep -q '<script src="/perclip\.js' "$page"; then # by an earlier start as root
    rm -f "$conf" 2>/dev/null
    echo "perclip: is in the page since an earlier start; $page cannot be written any more: for new settings, $hint" >&2
    exit 0
fi
{ printf "# Perclip's script tag: written by add-script-tag.sh at each start.\nsub_filter '</head>' '%s</head>';\n" "$tag" >"$conf"; } 2>/dev/null ||
    give_up "$(id -un 2>/dev/null || id -u) may write neither $page nor $conf: $hint"
# A configuration that nginx refuses because of this would keep CVAT from starting.
if command -v nginx >/dev/null && ! said=$(nginx -t 2>&1); then
    mv -f "$conf" "$conf.off"
    nginx -t >/dev/null 2>&1 && give_up "nginx refuses to add the tag ($(echo "$said" | head -n 1)): $hint"
    mv -f "$conf.off" "$conf"
fi
echo "perclip: nginx adds it to the page"
