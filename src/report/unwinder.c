/*
 * Unwinding, in three ways; see unwinder.h.
 *
 * Kernel thread; report_unwind_here() alone runs on the thread whose stack it unwinds.
 *
 * 1. report_unwind_here() does no I/O and takes no memory: the program's own allocator may be in the middle of something
 *    there.
 * 2. A copy is unwound by libdwfl: code without frame pointers (GLib) must not end the stack. Of the registers only
 *    frame pointer and code address are known; the innermost frames are the scheduler's, which has frame pointers,
 *    and need no other.
 */
#include "report/unwinder.h"

#include <elfutils/libdwfl.h>
#include <unistd.h>
#include <unwind.h>

#include "report/symbolize.h"

/* ------------------------------------------------------------------------------------------- by the thread itself */

static _Unwind_Reason_Code take_frame(struct _Unwind_Context *context, void *opaque)
{
    ReportPcs *pcs = opaque;
    int before = 0;
    uintptr_t ip = _Unwind_GetIPInfo(context, &before);

    if (pcs->count == REPORT_PCS_MAX || ip == 0) {
        return _URC_END_OF_STACK;
    }
    if (before && pcs->count) {
        pcs->count--; /* what a signal has interrupted: the frame before it is where the kernel has put the return from its handler */
    }
    pcs->at[pcs->count++] = before ? ip : ip - 1;
    return _URC_NO_REASON;
}

void report_unwind_here(ReportPcs *pcs)
{
    _Unwind_Backtrace(take_frame, pcs);
}

static void unwind_here(void *opaque)
{
    report_unwind_here(opaque);
}

void report_unwind_thread(SchedThread *thread, ReportPcs *pcs)
{
    sched_thread_interrupt(thread, unwind_here, pcs);
}

/* ------------------------------------------------------------------------------------------- by frame pointers */

static void add_return_address(ReportPcs *pcs, uintptr_t pc)
{
    if (pcs->count < REPORT_PCS_MAX) {
        pcs->at[pcs->count++] = pc - 1;
    }
}

/* words[0] lies at the address first. */
static void walk(uintptr_t frame, uintptr_t pc, uintptr_t first, const uint64_t *words, size_t count, ReportPcs *pcs)
{
    if (pc == 0) {
        return;
    }
    add_return_address(pcs, pc);
    while (frame >= first && frame % 8 == 0 && (frame - first) / 8 + 1 < count && pcs->count < REPORT_PCS_MAX) {
        const uint64_t *at = &words[(frame - first) / 8];

        if (at[1] == 0) {
            return;
        }
        add_return_address(pcs, at[1]);
        if (at[0] <= frame) {
            return;
        }
        frame = at[0];
    }
}

void report_walk_frames(const void *frame, const void *pc, const void *low, const void *high, ReportPcs *pcs)
{
    walk((uintptr_t)frame, (uintptr_t)pc, (uintptr_t)low, low, ((uintptr_t)high - (uintptr_t)low) / 8, pcs);
}

/* ---------------------------------------------------------------------------- by unwind information, on a copy */

enum { REGISTERS = 17, FRAME_POINTER = 6, STACK_POINTER = 7, RETURN_ADDRESS = 16 }; /* DWARF numbers, x86-64 */

static CheckStackCopy unwound; /* libdwfl is attached once, to this */

static pid_t next_thread(Dwfl *dwfl, void *opaque, void **thread_opaque)
{
    (void)dwfl;
    if (*thread_opaque) {
        return 0; /* there is one only */
    }
    *thread_opaque = opaque;
    return getpid();
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *opaque, void **thread_opaque)
{
    (void)dwfl;
    (void)tid;
    *thread_opaque = opaque;
    return true;
}

static bool read_memory(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *word, void *opaque)
{
    const CheckStackCopy *copy = opaque;

    (void)dwfl;
    if (address < copy->first || address % 8 || (address - copy->first) / 8 >= copy->count) {
        return false;
    }
    *word = copy->words[(address - copy->first) / 8];
    return true;
}

static bool set_registers(Dwfl_Thread *thread, void *opaque)
{
    const CheckStackCopy *copy = opaque;
    Dwarf_Word registers[REGISTERS] = { 0 };

    registers[FRAME_POINTER] = registers[STACK_POINTER] = copy->frame;
    registers[RETURN_ADDRESS] = copy->pc;
    return dwfl_thread_state_registers(thread, 0, REGISTERS, registers);
}

static const Dwfl_Thread_Callbacks copy_callbacks = {
    .next_thread = next_thread,
    .get_thread = get_thread,
    .memory_read = read_memory,
    .set_initial_registers = set_registers,
};

static int take_copied_frame(Dwfl_Frame *frame, void *opaque)
{
    ReportPcs *pcs = opaque;
    Dwarf_Addr pc;
    bool activation = false;

    if (!dwfl_frame_pc(frame, &pc, &activation) || pc == 0 || pcs->count == REPORT_PCS_MAX) {
        return DWARF_CB_ABORT;
    }
    /* The first frame counts as interrupted, yet its address is that of a return, too. */
    pcs->at[pcs->count] = activation && pcs->count ? pc : pc - 1;
    pcs->count++;
    return DWARF_CB_OK;
}

/* How many frames a walk along the frame pointers finds; a few of them may be skipped code without any. */
static unsigned walk_copy(const CheckStackCopy *copy, ReportPcs *pcs)
{
    unsigned before = pcs->count;

    walk(copy->frame, copy->pc, copy->first, copy->words, copy->count, pcs);
    return pcs->count - before;
}

void report_unwind_copy(const CheckStackCopy *copy, ReportPcs *pcs)
{
    static bool attached;
    unsigned before = pcs->count;
    Dwfl *dwfl = report_modules();

    unwound = *copy;
    if (dwfl && !attached) {
        attached = dwfl_attach_state(dwfl, NULL, getpid(), &copy_callbacks, &unwound);
    }
    if (attached) {
        dwfl_getthread_frames(dwfl, getpid(), take_copied_frame, pcs);
    }

    unsigned by_information = pcs->count - before;

    pcs->count = before;
    if (walk_copy(copy, pcs) < by_information) {
        pcs->count = before;
        dwfl_getthread_frames(dwfl, getpid(), take_copied_frame, pcs);
    }
}
