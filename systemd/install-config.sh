#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install-config.sh FILE DIRECTORY: installs FILE in DIRECTORY, unless it is there already: an
# administrator's configuration is never overwritten.
set -eu
directory=${DESTDIR:-}$2
target=$directory/$(basename "$1")
if [ -e "$target" ] || [ -n "${MESON_INSTALL_DRY_RUN:-}" ]; then
	exit 0
fi
install -d -m 0755 "$directory"
install -m 0644 "$1" "$target"
