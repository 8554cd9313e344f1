/* SPDX-License-Identifier: MIT
 *
 * The suites, one an interface. */
#pragma once

#include "contract.h"

extern const GantryContractSuite gantry_contract_content;
extern const GantryContractSuite gantry_contract_snapshotter;
