/*
 * Clients of exports, for targets: threads that send requests, one at a time or all at once, until all are sent or one is refused. Before
 * each they look something up in a table that RCU protects, as a virtual CPU does in its memory map; it may do so for as long as it
 * sends the request, and leave something behind that RCU frees.
 *
 * Invariants that they check: each request is completed once, or refused; a table is freed once, and never under a reader.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_CLIENT_H
#define WAKEFUZZ_FUZZ_SCENARIO_CLIENT_H

#include "core/export.h"
#include "fuzz/scenario.h"

#define CLIENT_REQUESTS_MAX 4u
#define CLIENT_SECTOR       512
#define CLIENT_DISK_BYTES   (CLIENT_REQUESTS_MAX * CLIENT_SECTOR)

typedef struct ScenarioTable ScenarioTable;

/* The table of the moment, which the main thread replaces. */
typedef struct ScenarioTables {
    ScenarioTable *now;   /* RCU */
    unsigned made, freed; /* main thread */
    int leftovers;        /* of clients, to be freed; raw */
} ScenarioTables;

/* A new table, in the place of the one before, which is freed when nobody reads it any more. Main thread. */
void scenario_table_replace(ScenarioTables *tables);

/* Is there nobody who reads? Then the last one goes too: rcu_cleanup() and scenario_tables_check() follow. Main thread. */
void scenario_tables_give_up(ScenarioTables *tables);

/* So many are left: 1, or 0 after scenario_tables_give_up(). Main thread, when all callbacks of RCU have run that it has called for. */
void scenario_tables_check(const ScenarioTables *tables, unsigned left);

typedef struct ScenarioClient {
    Scenario *scenario;
    ScenarioTables *tables;
    BlockExport *export;
    QemuThread thread;
    BlockExportRequest requests[CLIENT_REQUESTS_MAX];
    uint8_t data[CLIENT_REQUESTS_MAX][CLIENT_SECTOR];
    unsigned request_count;
    bool waits; /* for each request before the next */
    bool reads_long; /* its section of RCU lasts until the request is sent */
    int *holds; /* raw: its references to exports, and those of others */
    unsigned times_done[CLIENT_REQUESTS_MAX]; /* raw atomics, like all that only the invariants need */
    int outstanding; /* raw */
    QemuMutex lock;
    QemuCond ended;
    unsigned under_way; /* under lock */
} ScenarioClient;

/* A client of export, of which it takes a reference, which *holds counts; its node has CLIENT_DISK_BYTES. Main thread. */
void scenario_client_init(ScenarioClient *client, Scenario *scenario, ScenarioTables *tables, BlockExport *export, int *holds,
                          unsigned request_count, bool waits, bool reads_long);
void scenario_client_start(ScenarioClient *client);

/* Has it a request under way? Main thread. */
bool scenario_client_busy(const ScenarioClient *client);

/* Wait for its end; its requests have been completed, or its export closes. Main thread, without the big lock; blocks. */
void scenario_client_join(ScenarioClient *client);

#endif
