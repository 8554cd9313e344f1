/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-client-registry.h>
#include <gantry/gantry-client.h>
#include <gantry/gantry-container.h>
#include <gantry/gantry-error.h>
#include <gantry/gantry-image.h>
#include <gantry/gantry-job.h>
#include <gantry/gantry-mount.h>
#include <gantry/gantry-namespace-content.h>
#include <gantry/gantry-namespace-mounts.h>
#include <gantry/gantry-namespace-sandboxes.h>
#include <gantry/gantry-namespace.h>
#include <gantry/gantry-object.h>
#include <gantry/gantry-process.h>
#include <gantry/gantry-sandbox.h>
#include <gantry/gantry-stdio.h>
