#!/bin/sh
# Adds Perclip to CVAT's page. Runs at each start of the stock UI container (nginx runs what lies in
# /docker-entrypoint.d); running it again changes nothing. Whatever goes wrong, CVAT starts.
#
# The modules are copied to an address that names a checksum of them all: /perclip/CHECKSUM/. A module imports the others
# beside it, so a browser never runs those of two versions together, and an update has new addresses throughout.
#
# Where the page is root's and this is not root (CVAT's UI image since 2.44), nginx adds the tag on the way instead: its
# configuration belongs to its user there. `add-script-tag.sh proxy` prepares the same for an nginx before CVAT.
set -u
umask 022
mode=${1:-page}
if [ "$mode" = proxy ]; then
    modules=${PERCLIP_MODULES:-$(cd "$(dirname "$0")" && pwd)/perclip}
    otherwise="nothing was changed"
    status=1
else
    modules=${PERCLIP_MODULES:-/opt/perclip}
    otherwise="CVAT starts without Perclip"
    status=0
fi
root=${PERCLIP_HTML:-/usr/share/nginx/html}
conf=${PERCLIP_NGINX:-/etc/nginx/conf.d}/perclip.conf
page=$root/index.html
served=$root/perclip

give_up() {
    echo "perclip: $1; $otherwise" >&2
    rm -rf "$served/new.$$" 2>/dev/null
    [ "$mode" = proxy ] || rm -f "$page.perclip" "$conf" "$conf.off" 2>/dev/null
    exit $status
}

[ -r "$modules/entry.js" ] || give_up "$modules/entry.js is missing or cannot be read: mount the folder plugin/ui/perclip there"
[ "$mode" = proxy ] || grep -q '</head>' "$page" 2>/dev/null || give_up "$page is missing or has no </head>"

# A copy, put in place whole: what is mounted may change at any time, what has an address never does.
mkdir -p "$served" 2>/dev/null
mkdir "$served/new.$$" 2>/dev/null ||
    give_up "$(id -un 2>/dev/null || id -u) may not write $served: mount an empty folder there (tmpfs, emptyDir), as plugin/ui/README.md says"
cp "$modules"/*.js "$served/new.$$" && chmod 644 "$served/new.$$"/*.js || give_up "the modules in $modules cannot be copied"
version=$(cd "$served/new.$$" && md5sum ./*.js | md5sum | cut -c 1-12)
[ -d "$served/$version" ] || mv "$served/new.$$" "$served/$version" || give_up "$served/$version cannot be made"
rm -rf "$served/new.$$"

tag="<script type=\"module\" src=\"/perclip/$version/entry.js\""
for setting in "function-id=${PERCLIP_FUNCTION_ID:-}" "short-side=${PERCLIP_SHORT_SIDE:-}" "propagate-key=${PERCLIP_KEY:-}"; do
    value=${setting#*=}
    case $value in
        '') ;;
        *[!A-Za-z0-9._+,-]*) echo "perclip: $setting is left out: letters, digits and . _ + , - only" >&2 ;;
        *) tag="$tag data-${setting%%=*}=\"$value\"" ;;
    esac
done
tag="$tag></script>"
ours='<script[^>]* src="/perclip[./][^>]*></script>' # of any version

if [ "$mode" = page ]; then
    # Written beside the page and moved over it: a page is never half there.
    if cp -p "$page" "$page.perclip" 2>/dev/null &&
        sed -e "s|$ours||g" -e "s|</head>|$tag</head>|" "$page" >"$page.perclip" &&
        mv -f "$page.perclip" "$page"; then
        rm -f "$conf" 2>/dev/null
        echo "perclip: added to the page"
        exit 0
    fi
    rm -f "$page.perclip" 2>/dev/null
fi

hint="run the service as root (user: \"0\"), or let another nginx add the tag (plugin/ui/README.md)"
# In place of a tag that an earlier start as root has put into the page, or else before the head's end.
old=$([ "$mode" = proxy ] || sed -n "s|.*\\($ours\\).*|\\1|p" "$page" | head -n 1)
[ -n "$old" ] || { old='</head>' && tag="$tag</head>"; }
{ printf "# Perclip's script tag: written by add-script-tag.sh.\nsub_filter '%s' '%s';\n" "$old" "$tag" >"$conf.new" &&
    mv -f "$conf.new" "$conf"; } 2>/dev/null ||
    give_up "$(id -un 2>/dev/null || id -u) may write neither $page nor $conf: $hint"
# A configuration that nginx refuses because of this would keep CVAT from starting.
if [ "$mode" = page ] && command -v nginx >/dev/null && ! said=$(nginx -t 2>&1); then
    mv -f "$conf" "$conf.off"
    nginx -t >/dev/null 2>&1 && give_up "nginx refuses to add the tag ($(echo "$said" | head -n 1)): $hint"
    mv -f "$conf.off" "$conf"
fi
echo "perclip: nginx adds it to the page"
