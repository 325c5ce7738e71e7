/*
 * A virtual CPU for targets of the monitor: a thread that emits events under the big lock when somebody pokes it, and may close a client's
 * connection just before.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_VCPU_H
#define WAKEFUZZ_FUZZ_SCENARIO_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "core/qmp_json.h"
#include "core/thread.h"

#define POKES_MAX 21u

/* How to emit an event. */
#define POKE_LONG      1u
#define POKE_LIMITED   2u /* of a kind that comes at most once a second */
/* Of events that carry numbers: */
#define POKE_UNLOCKED  4u /* without the big lock, as threads that are no virtual CPUs do */
#define POKE_MORE(how) ((how) / 8u * 3) /* so many more like it */

/* Raw atomics. */
typedef struct ScenarioPoke {
    uint8_t how;
    uint8_t before; /* so many events come before that one */
    int hangs_up;   /* the client's end of the socket, to be closed just before that one; 0: none */
    int last;       /* the number of its last event; 0: not emitted yet */
} ScenarioPoke;

typedef struct ScenarioVcpu {
    QemuThread thread;
    QemuSemaphore pokes;
    /* Raw atomics. */
    unsigned poke_count;
    ScenarioPoke poked[POKES_MAX];
    bool ends;
    /* Of the thread. */
    bool counts;     /* its events carry numbers */
    bool grows_numb; /* it looks whether somebody pokes it, in vain at first, before it goes to sleep */
    int numbers[2];  /* the last ones: of events without a limit, and with one; raw */
    bool has_emitted_long;
} ScenarioVcpu;

/* Emit an event, long or limited. Any thread. */
void scenario_emit_event(uint8_t how);

/* The number that the event carries; 0: none. */
int scenario_event_number(JsonObject *event);

/* Let it emit one. hangs_up belongs to it from then on. At most POKES_MAX times; any thread. */
const ScenarioPoke *scenario_vcpu_poke(ScenarioVcpu *vcpu, uint8_t how, uint8_t before, int hangs_up);

/* It may be poked from now on; let it run; end it, which may be before all pokes were heard; when no client pokes it any more, free it. Main
 * thread. */
void scenario_vcpu_init(ScenarioVcpu *vcpu);
void scenario_vcpu_start(ScenarioVcpu *vcpu);
void scenario_vcpu_stop(ScenarioVcpu *vcpu);
void scenario_vcpu_free(ScenarioVcpu *vcpu);

#endif
