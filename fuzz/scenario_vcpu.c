#include "fuzz/scenario_vcpu.h"

#include <glib.h>
#include <unistd.h>

#include "core/main_loop.h"
#include "core/monitor.h"
#include "core/qmp_json.h"
#include "fuzz/fuzz.h"

#define LONG_EVENT_SIZE 24000u

void scenario_vcpu_poke(ScenarioVcpu *vcpu, uint8_t how, uint8_t before, int hangs_up)
{
    unsigned number = __atomic_fetch_add(&vcpu->poke_count, 1, __ATOMIC_SEQ_CST);
    ScenarioPoke *poke = &vcpu->poked[number];

    fuzz_check(number < POKES_MAX);

    __atomic_store_n(&poke->how, how, __ATOMIC_SEQ_CST);
    __atomic_store_n(&poke->before, before, __ATOMIC_SEQ_CST);
    __atomic_store_n(&poke->hangs_up, hangs_up, __ATOMIC_SEQ_CST);
    qemu_sem_post(&vcpu->pokes);
}

/* Close the connection that a client has left to us; there may be none. */
static void hang_up_for(ScenarioPoke *poke)
{
    int fd = __atomic_exchange_n(&poke->hangs_up, 0, __ATOMIC_SEQ_CST);

    if (fd) {
        fuzz_reached("connection-closes-before-an-event");
        close(fd);
    }
}

void scenario_emit_event(uint8_t how)
{
    JsonObject *data = json_object_new();

    if (how & 1) {
        char *text = g_strnfill(LONG_EVENT_SIZE, 'x');

        json_object_set_string_member(data, "offset", text);
        g_free(text);
    }
    qapi_event_emit(how & 2 ? QAPI_EVENT_RTC_CHANGE : QAPI_EVENT_RESUME, data);
    json_object_unref(data);
}

static void *vcpu_thread(void *opaque)
{
    ScenarioVcpu *vcpu = opaque;

    for (unsigned i = 0;; i++) {
        ScenarioPoke *poke = &vcpu->poked[i];

        qemu_sem_wait(&vcpu->pokes);
        if (__atomic_load_n(&vcpu->ends, __ATOMIC_SEQ_CST)) {
            return NULL;
        }
        for (unsigned before = __atomic_load_n(&poke->before, __ATOMIC_SEQ_CST); before; before--) {
            bql_lock();
            scenario_emit_event(0);
            bql_unlock();
        }
        bql_lock();
        hang_up_for(poke);
        scenario_emit_event(__atomic_load_n(&poke->how, __ATOMIC_SEQ_CST));
        bql_unlock();
    }
}

void scenario_vcpu_init(ScenarioVcpu *vcpu)
{
    qemu_sem_init(&vcpu->pokes, 0);
}

void scenario_vcpu_start(ScenarioVcpu *vcpu)
{
    qemu_thread_create(&vcpu->thread, "vcpu", vcpu_thread, vcpu, QEMU_THREAD_JOINABLE);
}

void scenario_vcpu_stop(ScenarioVcpu *vcpu)
{
    bql_unlock();
    __atomic_store_n(&vcpu->ends, true, __ATOMIC_SEQ_CST);
    qemu_sem_post(&vcpu->pokes);
    qemu_thread_join(&vcpu->thread);
    bql_lock();
}

void scenario_vcpu_free(ScenarioVcpu *vcpu)
{
    for (unsigned i = 0; i < vcpu->poke_count; i++) {
        if (vcpu->poked[i].hangs_up) {
            close(vcpu->poked[i].hangs_up); /* it has ended before it came to it */
        }
    }
    qemu_sem_destroy(&vcpu->pokes);
}
