/*
 * The plan's bytes, read and written from the back of an input. docs/input-format.md has the table of the layout.
 *
 * 1. Every byte string decodes; what is missing reads as zero, and all zeros is the first-in-first-out execution.
 * 2. decode(encode(plan)) == plan for every plan that decode can return.
 */
#include "sched/plan.h"

#include <string.h>

#define ATOMICS_BIT      0x08u
#define MORE_CONSTRAINTS 7u /* in place of a number of constraints: that, and the disturbances, are in a byte of their own */
#define NIBBLE_CLOCK     14u
#define NIBBLE_EXTENDED  15u

/* ---- reading */

typedef struct Reader {
    const uint8_t *data;
    size_t left; /* bytes not yet consumed; the next one is data[left - 1] */
} Reader;

static uint32_t read_byte(Reader *r)
{
    return r->left ? r->data[--r->left] : 0;
}

static uint32_t read_u16(Reader *r)
{
    uint32_t low = read_byte(r);

    return low | read_byte(r) << 8;
}

/* Seven bits a byte, least significant first, at most three bytes; cut to 16 bits. */
static uint16_t read_varint(Reader *r)
{
    uint32_t value = 0;

    for (unsigned shift = 0; shift < 21; shift += 7) {
        uint32_t byte = read_byte(r);

        value |= (byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            break;
        }
    }
    return (uint16_t)value;
}

static void read_constraint_count(Reader *r, uint32_t counts, SchedPlan *plan)
{
    if ((counts & 7) == MORE_CONSTRAINTS) {
        counts = read_byte(r);
        plan->disturb = (uint8_t)(counts >> 3);
    }
    plan->constraint_count = (uint8_t)((counts & 7) % (SCHED_CONSTRAINTS_MAX + 1));
}

static bool has_base_block(const SchedPlan *plan)
{
    return plan->base != SCHED_BASE_FIFO || plan->clock_rate || plan->constraint_count || plan->disturb;
}

static void read_override(Reader *r, SchedOverride *o)
{
    uint32_t byte = read_byte(r);

    o->thread = (uint16_t)(byte & 15);
    o->choice = (uint16_t)(byte >> 4);
    if (o->thread == NIBBLE_EXTENDED) {
        o->thread = read_varint(r);
    }
    if (o->choice == NIBBLE_CLOCK) {
        o->choice = SCHED_CHOICE_CLOCK;
    } else if (o->choice == NIBBLE_EXTENDED) {
        o->choice = read_varint(r);
    }
    o->decision = read_varint(r);
}

static void read_base_block(Reader *r, SchedPlan *plan)
{
    uint64_t seed = 0;

    for (unsigned i = 0; i < 8; i++) {
        seed |= (uint64_t)read_byte(r) << (8 * i);
    }
    plan->seed = seed;
    plan->parameter = (uint8_t)read_byte(r);
    plan->length = read_u16(r);
    plan->object = (uint16_t)read_u16(r);
    plan->count_count = (uint8_t)(read_byte(r) % (SCHED_COUNTS_MAX + 1));
    for (unsigned i = 0; i < plan->count_count; i++) {
        plan->counts[i] = read_varint(r);
    }
}

static int compare_overrides(const void *a, const void *b)
{
    const SchedOverride *x = a, *y = b;

    if (x->thread != y->thread) {
        return x->thread < y->thread ? -1 : 1;
    }
    return (x->decision > y->decision) - (x->decision < y->decision);
}

/* Sorted, and of several for the same decision only the first in byte order: a plan has one meaning. */
static void normalize_overrides(SchedPlan *plan)
{
    unsigned kept = 0;

    /* insertion keeps byte order among equals, which qsort would not */
    for (unsigned i = 1; i < plan->override_count; i++) {
        SchedOverride o = plan->overrides[i];
        unsigned j = i;

        for (; j > 0 && compare_overrides(&plan->overrides[j - 1], &o) > 0; j--) {
            plan->overrides[j] = plan->overrides[j - 1];
        }
        plan->overrides[j] = o;
    }
    for (unsigned i = 0; i < plan->override_count; i++) {
        if (kept == 0 || compare_overrides(&plan->overrides[kept - 1], &plan->overrides[i]) != 0) {
            plan->overrides[kept++] = plan->overrides[i];
        }
    }
    memset(&plan->overrides[kept], 0, (plan->override_count - kept) * sizeof(plan->overrides[0]));
    plan->override_count = (uint8_t)kept;
}

size_t sched_plan_decode(SchedPlan *plan, const uint8_t *data, size_t size)
{
    Reader r = { data, size };
    uint32_t control = read_byte(&r);
    uint32_t counts = read_byte(&r);

    memset(plan, 0, sizeof(*plan));
    plan->base = (SchedBase)((control & 7) % SCHED_BASE_COUNT);
    plan->atomics = control & ATOMICS_BIT;
    plan->clock_rate = (uint8_t)(control >> 4);
    read_constraint_count(&r, counts, plan);
    plan->override_count = (uint8_t)(counts >> 3);
    for (unsigned i = 0; i < plan->override_count; i++) {
        read_override(&r, &plan->overrides[i]);
    }
    normalize_overrides(plan);
    if (has_base_block(plan)) {
        read_base_block(&r, plan);
    }
    for (unsigned i = 0; i < plan->constraint_count; i++) {
        SchedConstraint *c = &plan->constraints[i];

        c->must_not = read_byte(&r) & 1;
        c->write_site = (uint16_t)read_u16(&r);
        c->read_site = (uint16_t)read_u16(&r);
    }
    return size - r.left;
}

/* ---- writing: forward into a buffer, which is reversed at the end */

typedef struct Writer {
    uint8_t *bytes;
    size_t length;
} Writer;

static void write_byte(Writer *w, uint32_t byte)
{
    w->bytes[w->length++] = (uint8_t)byte;
}

static void write_u16(Writer *w, uint32_t value)
{
    write_byte(w, value & 0xff);
    write_byte(w, value >> 8);
}

static void write_varint(Writer *w, uint32_t value)
{
    for (; value >= 0x80; value >>= 7) {
        write_byte(w, 0x80 | (value & 0x7f));
    }
    write_byte(w, value);
}

static void write_override(Writer *w, const SchedOverride *o)
{
    uint32_t thread = o->thread < NIBBLE_EXTENDED ? o->thread : NIBBLE_EXTENDED;
    uint32_t choice = o->choice == SCHED_CHOICE_CLOCK ? NIBBLE_CLOCK : o->choice < NIBBLE_CLOCK ? o->choice : NIBBLE_EXTENDED;

    write_byte(w, thread | choice << 4);
    if (thread == NIBBLE_EXTENDED) {
        write_varint(w, o->thread);
    }
    if (choice == NIBBLE_EXTENDED) {
        write_varint(w, o->choice);
    }
    write_varint(w, o->decision);
}

static void write_base_block(Writer *w, const SchedPlan *plan)
{
    for (unsigned i = 0; i < 8; i++) {
        write_byte(w, (uint32_t)(plan->seed >> (8 * i)) & 0xff);
    }
    write_byte(w, plan->parameter);
    write_u16(w, plan->length > 0xffff ? 0xffff : plan->length);
    write_u16(w, plan->object);
    write_byte(w, plan->count_count);
    for (unsigned i = 0; i < plan->count_count; i++) {
        write_varint(w, plan->counts[i]);
    }
}

_Static_assert(3 + 10 * SCHED_OVERRIDES_MAX + 14 + 3 * SCHED_COUNTS_MAX + 5 * SCHED_CONSTRAINTS_MAX <= SCHED_PLAN_BYTES_MAX,
               "an override has at most 10 bytes, a count 3, a constraint 5");

size_t sched_plan_encode(const SchedPlan *plan, uint8_t bytes[SCHED_PLAN_BYTES_MAX])
{
    Writer w = { bytes, 0 };

    write_byte(&w, plan->base | (plan->atomics ? ATOMICS_BIT : 0) | (uint32_t)(plan->clock_rate & 15) << 4);
    if (plan->disturb) {
        write_byte(&w, MORE_CONSTRAINTS | (uint32_t)plan->override_count << 3);
        write_byte(&w, plan->constraint_count | (uint32_t)plan->disturb << 3);
    } else {
        write_byte(&w, plan->constraint_count | (uint32_t)plan->override_count << 3);
    }
    for (unsigned i = 0; i < plan->override_count; i++) {
        write_override(&w, &plan->overrides[i]);
    }
    if (has_base_block(plan)) {
        write_base_block(&w, plan);
    }
    for (unsigned i = 0; i < plan->constraint_count; i++) {
        const SchedConstraint *c = &plan->constraints[i];

        write_byte(&w, c->must_not);
        write_u16(&w, c->write_site);
        write_u16(&w, c->read_site);
    }
    for (size_t i = 0; i < w.length / 2; i++) {
        uint8_t byte = bytes[i];

        bytes[i] = bytes[w.length - 1 - i];
        bytes[w.length - 1 - i] = byte;
    }
    return w.length;
}
