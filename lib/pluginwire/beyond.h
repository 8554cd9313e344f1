/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What gantry-plugin-host and the proxies say to each other beyond containerd's protocol. The host tells by
 * the introspection service what it knows, as capabilities; a proxy asks for nothing else of anybody.
 */
#pragma once

#define WIRE_SNAPSHOTTER_TYPE "io.containerd.snapshotter.v1"
#define WIRE_CONTENT_TYPE     "io.containerd.content.v1"
#define WIRE_DIFFER_TYPE      "io.containerd.differ.v1"

/** Of a snapshotter: GANTRY_SNAPSHOTTER_REMAP and _PARALLEL_UNPACK in containerd's words (2.x), and
 * _FAST_USAGE. */
#define WIRE_CAPABILITY_REMAP           "remap-ids"
#define WIRE_CAPABILITY_PARALLEL_UNPACK "rebase"
#define WIRE_CAPABILITY_FAST_USAGE      "org.gantry.fast-usage"

/** Of a differ: Apply takes the options of GantryDiffer.apply that the protocol has no field for as a payload
 * of this key and type: a{sv} in the byte order of the machine, at most WIRE_MAX_OPTIONS bytes. */
#define WIRE_CAPABILITY_OPTIONS "org.gantry.options"
#define WIRE_OPTIONS_KEY        "org.gantry.options"
#define WIRE_OPTIONS_TYPE       "org.gantry/options"
#define WIRE_MAX_OPTIONS        (256 * 1024)
