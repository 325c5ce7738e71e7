#include "fuzz/scenario_vcpu.h"

#include <glib.h>
#include <unistd.h>

#include "core/main_loop.h"
#include "core/monitor.h"
#include "core/qmp_json.h"
#include "core/timer.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define LONG_EVENT_SIZE 24000u
#define PATIENCE_MS     300 /* longer than what is late */

const ScenarioPoke *scenario_vcpu_poke(ScenarioVcpu *vcpu, uint8_t how, uint8_t before, int hangs_up)
{
    unsigned number = __atomic_fetch_add(&vcpu->poke_count, 1, __ATOMIC_SEQ_CST);
    ScenarioPoke *poke = &vcpu->poked[number];

    fuzz_check(number < POKES_MAX);

    __atomic_store_n(&poke->how, how, __ATOMIC_SEQ_CST);
    __atomic_store_n(&poke->before, before, __ATOMIC_SEQ_CST);
    __atomic_store_n(&poke->hangs_up, hangs_up, __ATOMIC_SEQ_CST);
    qemu_sem_post(&vcpu->pokes);
    return poke;
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

static void emit(uint8_t how, int number)
{
    JsonObject *data = json_object_new();

    if (number) {
        json_object_set_int_member(data, "number", number);
    }
    if (how & POKE_LONG) {
        char *text = g_strnfill(LONG_EVENT_SIZE, 'x');

        json_object_set_string_member(data, "offset", text);
        g_free(text);
    }
    qapi_event_emit(how & POKE_LIMITED ? QAPI_EVENT_RTC_CHANGE : QAPI_EVENT_RESUME, data);
    json_object_unref(data);
}

void scenario_emit_event(uint8_t how)
{
    emit(how, 0);
}

int scenario_event_number(JsonObject *event)
{
    JsonObject *data = json_object_has_member(event, "data") ? json_object_get_object_member(event, "data") : NULL;

    return data && json_object_has_member(data, "number") ? (int)json_object_get_int_member(data, "number") : 0;
}

/* One that carries the next number. The last one of a poke: who waits for it is told the number before it comes. */
static void emit_counted(ScenarioVcpu *vcpu, ScenarioPoke *poke, bool is_last)
{
    uint8_t how = __atomic_load_n(&poke->how, __ATOMIC_SEQ_CST);
    int *numbers = &vcpu->numbers[how & POKE_LIMITED ? 1 : 0], number = scenario_get(numbers) + 1;

    scenario_set(numbers, number);
    vcpu->has_emitted_long |= how & POKE_LONG;
    if (is_last) {
        scenario_set(&poke->last, number);
    }
    emit(how, number);
}

static void emit_all(ScenarioVcpu *vcpu, ScenarioPoke *poke)
{
    uint8_t how = __atomic_load_n(&poke->how, __ATOMIC_SEQ_CST);

    for (unsigned left = POKE_MORE(how) + 1; left; left--) {
        if (!(how & POKE_UNLOCKED)) {
            bql_lock();
        }
        hang_up_for(poke);
        emit_counted(vcpu, poke, left == 1);
        if (!(how & POKE_UNLOCKED)) {
            bql_unlock();
        }
    }
}

static void wait_for_poke(ScenarioVcpu *vcpu)
{
    for (unsigned i = 0; vcpu->grows_numb && i < 2; i++) {
        uint64_t begin_ns = fuzz_time_ns();

        if (qemu_sem_timedwait(&vcpu->pokes, PATIENCE_MS) == 0) {
            return;
        }
        fuzz_check(fuzz_time_ns() - begin_ns >= (uint64_t)PATIENCE_MS * SCALE_MS);
    }
    qemu_sem_wait(&vcpu->pokes);
}

static void *vcpu_thread(void *opaque)
{
    ScenarioVcpu *vcpu = opaque;

    for (unsigned i = 0;; i++) {
        ScenarioPoke *poke = &vcpu->poked[i];

        wait_for_poke(vcpu);
        if (__atomic_load_n(&vcpu->ends, __ATOMIC_SEQ_CST)) {
            return NULL;
        }
        fuzz_check(i < __atomic_load_n(&vcpu->poke_count, __ATOMIC_SEQ_CST));
        for (unsigned before = __atomic_load_n(&poke->before, __ATOMIC_SEQ_CST); before; before--) {
            bql_lock();
            scenario_emit_event(0);
            bql_unlock();
        }
        if (vcpu->counts) {
            emit_all(vcpu, poke);
            continue;
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
