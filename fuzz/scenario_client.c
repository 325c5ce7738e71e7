#include "fuzz/scenario_client.h"

#include <errno.h>
#include <glib.h>

#include "core/main_loop.h"
#include "core/rcu.h"
#include "fuzz/fuzz.h"

/* ---- tables */

struct ScenarioTable {
    struct rcu_head rcu; /* first */
    ScenarioTables *tables;
    int alive; /* raw */
};

static void table_free(struct rcu_head *head)
{
    ScenarioTable *table = (ScenarioTable *)head;

    fuzz_check(bql_locked());
    scenario_set(&table->alive, 0);
    table->tables->freed++;
    g_free(table);
}

void scenario_table_replace(ScenarioTables *tables)
{
    ScenarioTable *old = tables->now, *table = g_new0(ScenarioTable, 1);

    table->tables = tables;
    table->alive = 1;
    tables->made++;
    qatomic_rcu_set(&tables->now, table);
    if (old) {
        call_rcu(old, table_free, rcu);
    }
}

void scenario_tables_give_up(ScenarioTables *tables)
{
    call_rcu(tables->now, table_free, rcu);
}

void scenario_tables_check(const ScenarioTables *tables, unsigned left)
{
    fuzz_check(tables->freed + left == tables->made);
    fuzz_check(left || !scenario_get(&tables->leftovers));
}

/* A section in the section ends at once: the one around it goes on. */
static const ScenarioTable *look_up(ScenarioTables *tables)
{
    const ScenarioTable *table;

    rcu_read_lock();
    rcu_read_lock();
    table = qatomic_rcu_read(&tables->now);
    rcu_read_unlock();
    fuzz_check(scenario_get(&table->alive));
    return table;
}

/* ---- what a client leaves behind */

typedef struct Leftover {
    struct rcu_head rcu; /* first */
    ScenarioTables *tables;
} Leftover;

static void leftover_free(struct rcu_head *head)
{
    scenario_add(&((Leftover *)head)->tables->leftovers, -1);
    g_free(head);
}

static void leave_something(ScenarioTables *tables)
{
    Leftover *leftover = g_new(Leftover, 1);

    leftover->tables = tables;
    scenario_add(&tables->leftovers, 1);
    call_rcu(leftover, leftover_free, rcu);
}

/* ---- requests */

static void request_done(BlockExportRequest *request, int ret)
{
    ScenarioClient *client = request->opaque;
    unsigned times = __atomic_add_fetch(&client->times_done[request - client->requests], 1, __ATOMIC_SEQ_CST);

    fuzz_check(times == 1);
    fuzz_check(ret == 0 || ret == -ESHUTDOWN);
    if (ret == -ESHUTDOWN) {
        fuzz_reached("request-on-the-wire-when-its-export-closes");
    }
    scenario_add(&client->outstanding, -1);
    qemu_mutex_lock(&client->lock);
    client->under_way--;
    qemu_cond_signal(&client->ended);
    qemu_mutex_unlock(&client->lock);
}

static void wait_until_under_way(ScenarioClient *client, unsigned most)
{
    qemu_mutex_lock(&client->lock);
    while (client->under_way > most) {
        qemu_cond_wait(&client->ended, &client->lock);
    }
    qemu_mutex_unlock(&client->lock);
}

static bool submit_request(ScenarioClient *client, unsigned i)
{
    BlockExportRequest *request = &client->requests[i];

    *request = (BlockExportRequest){
        .write = i & 1,
        .offset = (int64_t)i * CLIENT_SECTOR,
        .bytes = CLIENT_SECTOR,
        .buf = client->data[i],
        .done = request_done,
        .opaque = client,
    };
    qemu_mutex_lock(&client->lock);
    client->under_way++;
    qemu_mutex_unlock(&client->lock);
    scenario_add(&client->outstanding, 1);
    if (blk_exp_submit(client->export, request)) {
        return true;
    }
    fuzz_reached("request-refused");
    scenario_add(&client->outstanding, -1);
    qemu_mutex_lock(&client->lock);
    client->under_way--;
    qemu_mutex_unlock(&client->lock);
    return false;
}

static bool send_request(ScenarioClient *client, unsigned i)
{
    const ScenarioTable *table = look_up(client->tables);
    bool accepted;

    if (!client->reads_long) {
        rcu_read_unlock();
        return submit_request(client, i);
    }
    accepted = submit_request(client, i);
    fuzz_check(scenario_get(&table->alive));
    if (table != __atomic_load_n(&client->tables->now, __ATOMIC_SEQ_CST)) {
        fuzz_reached("table-replaced-while-it-is-read");
    }
    rcu_read_unlock();
    leave_something(client->tables);
    return accepted;
}

/* ---- life */

static void *client_thread(void *opaque)
{
    ScenarioClient *client = opaque;
    unsigned sent = 0;

    rcu_register_thread();
    while (sent < client->request_count && send_request(client, sent)) {
        sent++;
        if (scenario_is_ending(client->scenario)) {
            fuzz_reached("request-accepted-while-cleaning-up");
        }
        if (client->waits) {
            wait_until_under_way(client, 0);
        }
    }
    wait_until_under_way(client, 0);
    for (unsigned i = 0; i < sent; i++) {
        fuzz_check(__atomic_load_n(&client->times_done[i], __ATOMIC_SEQ_CST) == 1);
    }
    scenario_add(client->holds, -1);
    blk_exp_unref(client->export);
    rcu_unregister_thread();
    return NULL;
}

void scenario_client_init(ScenarioClient *client, Scenario *scenario, ScenarioTables *tables, BlockExport *export, int *holds,
                          unsigned request_count, bool waits, bool reads_long)
{
    *client = (ScenarioClient){
        .scenario = scenario,
        .tables = tables,
        .export = export,
        .holds = holds,
        .waits = waits,
        .reads_long = reads_long,
    };
    client->request_count = MIN(request_count, CLIENT_REQUESTS_MAX);
    scenario_add(holds, 1);
    blk_exp_ref(export);
    qemu_mutex_init(&client->lock);
    qemu_cond_init(&client->ended);
}

void scenario_client_start(ScenarioClient *client)
{
    qemu_thread_create(&client->thread, "client", client_thread, client, QEMU_THREAD_JOINABLE);
}

bool scenario_client_busy(const ScenarioClient *client)
{
    return scenario_get(&client->outstanding) > 0;
}

void scenario_client_join(ScenarioClient *client)
{
    qemu_thread_join(&client->thread);
    qemu_cond_destroy(&client->ended);
    qemu_mutex_destroy(&client->lock);
}
