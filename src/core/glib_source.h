/*
 * GLib sources that several threads attach and destroy.
 *
 * GLib orders all of it by the context's lock, which ThreadSanitizer does not see: for it, the context stands for the lock, whose
 * futex lies at the same address. Nothing of this is there in other builds. A source's own functions begin with glib_source_enter(), which also stands for what GLib's loop
 * has done by itself up to there, and end with glib_source_leave().
 */
#ifndef WAKEFUZZ_CORE_GLIB_SOURCE_H
#define WAKEFUZZ_CORE_GLIB_SOURCE_H

#include <glib.h>

#include "core/sanitizer.h"

static inline guint glib_source_attach(GSource *source, GMainContext *context)
{
    guint tag;

    SANITIZER_ACQUIRE(context);
    tag = g_source_attach(source, context);
    SANITIZER_RELEASE(context);
    return tag;
}

/*
 * Of an attached source; the reference that the caller may have is still its own. GLib frees records here that the thread of the
 * context may have made a moment ago, between two functions of its sources.
 */
static inline void glib_source_destroy(GSource *source)
{
    GMainContext *context = g_source_get_context(source);

    SANITIZER_ACQUIRE(context);
    SANITIZER_IGNORE_WRITES_BEGIN();
    g_source_destroy(source);
    SANITIZER_IGNORE_WRITES_END();
    SANITIZER_RELEASE(context);
}

static inline void glib_source_enter(GSource *source)
{
    GMainContext *context = g_source_get_context(source);

    SANITIZER_ACQUIRE(context);
    SANITIZER_RELEASE(context);
}

static inline void glib_source_leave(GSource *source)
{
    SANITIZER_RELEASE(g_source_get_context(source));
}

#endif
