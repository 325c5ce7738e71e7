/*
 * Target monitor: clients send QMP commands to one or two monitors at any moment, also while these are being cleaned up:
 * well-formed, malformed, in pieces, in and out of band; they hang up and come again. A vCPU emits events meanwhile, when a client
 * pokes it; connections may close just before it does. The devices may emit one as well, when their monitor has let go of them.
 *
 * Invariants: each command is answered exactly once, in order (out of band may overtake), unless the client hangs up or the cleanup
 * closes the connection before, and nobody else does; what a client reads is whole lines of JSON; after the cleanup no event arrives.
 *
 * The empty scenario is one client that sends one ordinary command and asks the program to end: enough for QEMU's fc1a2ec7da.
 */
#include <glib.h>

#include "core/monitor.h"
#include "core/runstate.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario_script.h"

#define MONITORS_MAX 2u
#define CLIENTS_MAX  3u

typedef struct World {
    Scenario scenario;
    unsigned monitor_count, client_count;
    Chardev *chrs[MONITORS_MAX];
    ScenarioScript clients[CLIENTS_MAX];
    unsigned clients_busy; /* raw */
    ScenarioVcpu vcpu;
} World;

/* ---- the scenario */

static void read_client(FuzzInput *in, World *world, unsigned number, bool cut_off)
{
    ScenarioScript *client = &world->clients[number];
    uint8_t flags = fuzz_byte(in);

    client->scenario = &world->scenario;
    client->vcpu = &world->vcpu;
    client->number = number;
    client->busy = &world->clients_busy;
    client->fd = -1;
    client->input = g_string_new(NULL);
    client->chr = world->chrs[number % world->monitor_count];
    client->shares = world->client_count > world->monitor_count;
    client->waits = (flags & 1) ^ (number > 0); /* who comes after another wants to know whether anybody is there */
    client->negotiates = (flags >> 1) % 3;
    if (cut_off) {
        client->negotiates = MAX(client->negotiates, 1);
        client->cut_off = (uint8_t)(2 + (flags >> 6) * 4);
    }
    client->step_count = 1 + (flags >> 3) % STEPS_MAX;
    for (unsigned i = 0; i < client->step_count; i++) {
        uint8_t which;

        client->steps[i].kind = fuzz_choice(in, STEP_KINDS);
        which = fuzz_byte(in);
        client->steps[i].which = which & 31;
        client->steps[i].pieces = which >> 5;
        if (client->steps[i].kind == STEP_RAW) {
            client->steps[i].raw_size = fuzz_bytes(in, client->steps[i].raw, fuzz_range(in, 1, RAW_MAX));
        }
    }
}

/* Of STEP_HANG_UP: who notices that the client has gone. The vCPU keeps the main thread from its bottom halves meanwhile. */
enum { MONITOR_NOTICES = 1, VCPU_NOTICES_AFTER_AN_EVENT = 4 };

/* It negotiates more often than it may, and has gone before all that is refused: the next client may have come by then. */
static void let_give_up(ScenarioScript *client, uint8_t who_notices)
{
    client->negotiates = 2;
    client->step_count = STEPS_MAX;
    for (unsigned i = 0; i < STEPS_MAX - 1; i++) {
        client->steps[i] = (ScenarioStep){ .kind = STEP_COMMAND, .which = 1 };
    }
    client->steps[STEPS_MAX - 1] = (ScenarioStep){ .kind = STEP_HANG_UP, .which = who_notices };
}

/* It negotiates, asks something more, and wants to know. */
static void let_ask(ScenarioScript *client)
{
    client->waits = true;
    client->negotiates = MAX(client->negotiates, 1);
}

/* Of a device: the other monitors are told that this one has gone. */
static void tell_that_monitor_has_gone(void *opaque, bool open)
{
    (void)opaque;
    if (!open) {
        fuzz_reached("event-of-a-device-without-its-monitor");
        scenario_emit_event(0);
    }
}

static void read_scenario(FuzzInput *in, World *world)
{
    uint8_t shape = fuzz_byte(in);

    world->client_count = 1 + (shape & 3) % CLIENTS_MAX;
    world->monitor_count = MIN(1u + (shape >> 2 & 1), world->client_count);
    for (unsigned i = 0; i < world->monitor_count; i++) {
        world->chrs[i] = qemu_chr_new_socket("monitor");
        if (shape & 0x80) {
            qemu_chr_set_fe_open_func(world->chrs[i], tell_that_monitor_has_gone, NULL);
        }
    }
    for (unsigned i = 0; i < world->client_count; i++) {
        read_client(in, world, i, shape & 0x40);
    }
    if (shape & 0x20 && world->clients[0].shares) {
        let_give_up(&world->clients[0], shape & 0x10 ? VCPU_NOTICES_AFTER_AN_EVENT : MONITOR_NOTICES);
        for (unsigned i = 1; shape & 0x08 && i < world->client_count; i++) {
            let_ask(&world->clients[i]);
        }
    }
}

static void start(World *world)
{
    scenario_vcpu_init(&world->vcpu);
    monitor_init_globals();
    for (unsigned i = 0; i < world->monitor_count; i++) {
        monitor_init_qmp(world->chrs[i]);
    }
    world->clients_busy = world->client_count;
    for (unsigned i = 0; i < world->client_count; i++) {
        scenario_script_start(&world->clients[i]);
    }
    scenario_vcpu_start(&world->vcpu);
}

/* The order of qemu_cleanup(): vCPUs, monitors, devices. */
static void stop(World *world)
{
    scenario_vcpu_stop(&world->vcpu);
    scenario_set(&world->scenario.ending, 1);
    for (unsigned i = 0; i < world->client_count; i++) {
        if (scenario_script_waits(&world->clients[i])) {
            fuzz_reached("cleanup-with-commands-unanswered");
        }
    }
    monitor_cleanup();
    scenario_emit_event(0);
    qapi_event_emit(QAPI_EVENT_SHUTDOWN, NULL);
    for (unsigned i = 0; i < world->monitor_count; i++) {
        qemu_chr_socket_close(world->chrs[i]);
    }
    for (unsigned i = 0; i < world->client_count; i++) {
        scenario_script_join(&world->clients[i]);
    }
    for (unsigned i = 0; i < world->monitor_count; i++) {
        qemu_chr_delete(world->chrs[i]);
    }
    scenario_vcpu_free(&world->vcpu);
    monitor_cleanup_globals();
}

static void run(FuzzInput *in)
{
    World *world = g_new0(World, 1);

    scenario_begin(&world->scenario, 0);
    read_scenario(in, world);
    start(world);
    do {
        main_loop_wait(false);
    } while (!main_loop_should_exit());
    stop(world);
    scenario_end(&world->scenario);
    g_free(world);
}

static const char *const windows[] = {
    "cleanup-with-commands-unanswered",
    "command-during-cleanup",
    "command-in-pieces",
    "connection-closes-before-an-event",
    "event-arrives",
    "event-of-a-device-without-its-monitor",
    "hang-up-with-commands-unanswered",
    "next-client-is-served",
    "out-of-band-overtakes",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "monitor", .run = run, .windows = windows };
