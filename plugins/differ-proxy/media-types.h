/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/** What it applies if MediaTypes= is not set: all layers of OCI and Docker. */
#define DIFFER_PROXY_MEDIA_TYPES                                                                             \
  "application/vnd.oci.image.layer.v1.tar;application/vnd.oci.image.layer.v1.tar+gzip;"                      \
  "application/vnd.oci.image.layer.v1.tar+zstd;application/vnd.oci.image.layer.nondistributable.v1.tar;"     \
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip;"                                            \
  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd;"                                            \
  "application/vnd.docker.image.rootfs.diff.tar;application/vnd.docker.image.rootfs.diff.tar.gzip;"          \
  "application/vnd.docker.image.rootfs.diff.tar.zstd;application/vnd.docker.image.rootfs.foreign.diff.tar;"  \
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip;"                                               \
  "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd"
