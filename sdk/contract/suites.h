/* SPDX-License-Identifier: MIT
 *
 * The suites, one an interface. */
#pragma once

#include "contract.h"

extern const GantryContractSuite gantry_contract_content;
extern const GantryContractSuite gantry_contract_event_log;
extern const GantryContractSuite gantry_contract_events;
extern const GantryContractSuite gantry_contract_metadata;
extern const GantryContractSuite gantry_contract_mounts;
extern const GantryContractSuite gantry_contract_registry;
extern const GantryContractSuite gantry_contract_snapshot_index;
extern const GantryContractSuite gantry_contract_snapshotter;
extern const GantryContractSuite gantry_contract_verifier;
extern const GantryContractSuite gantry_contract_jobs;
extern const GantryContractSuite gantry_contract_frontend;
extern const GantryContractSuite gantry_contract_introspection;
extern const GantryContractSuite gantry_contract_store;
extern const GantryContractSuite gantry_contract_runtime;
extern const GantryContractSuite gantry_contract_differ;
extern const GantryContractSuite gantry_contract_tasks;
extern const GantryContractSuite gantry_contract_transfer;
