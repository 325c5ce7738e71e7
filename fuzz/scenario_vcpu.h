/*
 * A virtual CPU for targets of the monitor: a thread that emits events under the big lock when somebody pokes it, and may close a client's
 * connection just before.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_VCPU_H
#define WAKEFUZZ_FUZZ_SCENARIO_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "core/thread.h"

#define POKES_MAX 21u

typedef struct ScenarioPoke {
    uint8_t how;    /* to emit */
    uint8_t before; /* so many events come before that one */
    int hangs_up;   /* the client's end of the socket, to be closed just before that one; 0: none */
} ScenarioPoke;

typedef struct ScenarioVcpu {
    QemuThread thread;
    QemuSemaphore pokes;
    /* Raw atomics. */
    unsigned poke_count;
    ScenarioPoke poked[POKES_MAX];
    bool ends;
} ScenarioVcpu;

/* Emit an event: bit 0: a long one, bit 1: of a kind that comes at most once a second. Any thread. */
void scenario_emit_event(uint8_t how);

/* Let it emit one. hangs_up belongs to it from then on. At most POKES_MAX times; any thread. */
void scenario_vcpu_poke(ScenarioVcpu *vcpu, uint8_t how, uint8_t before, int hangs_up);

/* It may be poked from now on; let it run; end it, which may be before all pokes were heard; when no client pokes it any more, free it. Main
 * thread. */
void scenario_vcpu_init(ScenarioVcpu *vcpu);
void scenario_vcpu_start(ScenarioVcpu *vcpu);
void scenario_vcpu_stop(ScenarioVcpu *vcpu);
void scenario_vcpu_free(ScenarioVcpu *vcpu);

#endif
