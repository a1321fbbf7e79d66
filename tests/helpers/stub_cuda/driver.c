/* A stand-in for libcuda.so.1: host memory for device memory, and streams that either run at once or in a
   shuffled but legal order, as late as a synchronization allows.

   Legal: a stream's operations in their order; a wait not before the event's record that it saw. Memory is
   filled with NaN when it is given and when it is freed. What a real driver would answer with silent damage
   is counted as a violation, with its reason: copies outside of any allocation or between pageable memory,
   memory freed while work is queued, handles used after their end.
   Each device has a context of its own, and a capability: the first one's, then a tenth more each.
   Not modelled: the default stream's implicit waiting (nothing here uses it), several devices' memory. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, NO_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, UNKNOWN = 999, NOT_SUPPORTED = 801 };
typedef uint64_t ptr;
typedef void (*host_function)(void *);

typedef struct op { int kind; void *to; const void *from; size_t bytes; host_function call; void *data;
                    struct event *event; long seen; struct op *next; } op;
enum { COPY, CALL, RECORD, WAIT };
typedef struct stream { int busy; unsigned flags; op *first, *last; struct stream *next; } stream;
typedef struct event { long recorded, done; unsigned flags; struct event *next; } event;
typedef struct memory { char *at; size_t bytes; int pinned; unsigned flags; struct memory *next; } memory;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static stream *streams;
static event *events;
static memory *memories, *quarantine;
static size_t limit = (size_t)8 << 30, used, quarantined;
enum { DEVICES = 8, DEEPEST = 64 };
static int sticky, modes[DEVICES], shuffled, version = 13000, capability = 89, devices = 1, initialized, violations, retained;
static unsigned long long seed = 1, calls;
static char reason[256];
static struct { char name[48]; int code, after; } injected[8];
static _Thread_local int depth, pushed[DEEPEST]; /* contexts pushed on this thread, by their devices */
static char contexts[DEVICES][16];

static unsigned chance(unsigned below) {
    seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17;
    return (unsigned)(seed % below);
}
static void violate(const char *why) {
    if (!violations++) snprintf(reason, sizeof reason, "%s", why);
}
/* Counts the call, and answers with an injected error when its turn has come. */
static int enter(const char *name, int needs_context) {
    calls++;
    for (int i = 0; i < 8; i++)
        if (injected[i].code && !strcmp(injected[i].name, name) && injected[i].after-- == 0) {
            int code = injected[i].code;
            injected[i].code = 0;
            return code;
        }
    if (!initialized) return NOT_INITIALIZED;
    if (sticky) return sticky;
    return needs_context && depth == 0 ? INVALID_CONTEXT : OK;
}
#define ENTER(context) do { int failed = enter(__func__, context); if (failed) return failed; } while (0)
#define LOCKED(...) do { pthread_mutex_lock(&lock); __VA_ARGS__; pthread_mutex_unlock(&lock); } while (0)

static memory *owner(const void *at, size_t bytes) {
    for (memory *m = memories; m; m = m->next)
        if ((char *)at >= m->at && (char *)at + bytes <= m->at + m->bytes) return m;
    return NULL;
}
static int runnable(stream *s) {
    return s->first && !s->busy && (s->first->kind != WAIT || s->first->event->done >= s->first->seen);
}
/* Runs a stream's first operation; the lock is open while a host function runs, which may want Python's. */
static void run_first(stream *s) {
    op *o = s->first;
    s->busy = 1;
    if (o->kind == COPY) {
        memory *to = owner(o->to, o->bytes), *from = owner(o->from, o->bytes);
        if (!to || !from) violate("a copy outside of device and pinned memory");
        else memmove(o->to, o->from, o->bytes);
    } else if (o->kind == RECORD) {
        o->event->done = o->seen;
    } else if (o->kind == CALL) {
        pthread_mutex_unlock(&lock);
        o->call(o->data);
        pthread_mutex_lock(&lock);
    }
    s->first = o->next;
    if (!s->first) s->last = NULL;
    s->busy = 0;
    free(o);
    pthread_cond_broadcast(&changed);
}
static int run_one(void) { /* 1: ran one, 0: all are empty or busy, -1: all wait for what never comes */
    int ready = 0, busy = 0, left = 0;
    for (stream *s = streams; s; s = s->next) { ready += runnable(s); busy += s->busy; left += s->first != NULL; }
    if (!ready) return left && !busy ? -1 : 0;
    int chosen = (int)chance((unsigned)ready);
    for (stream *s = streams; s; s = s->next)
        if (runnable(s) && chosen-- == 0) { run_first(s); return 1; }
    return 0;
}
static int idle(stream *s) { return !s->first && !s->busy; }
static int all_idle(void) {
    for (stream *s = streams; s; s = s->next) if (!idle(s)) return 0;
    return 1;
}
/* Runs in any legal order until the stream is empty, the event done, or (both NULL) all is done. */
static int run_until(stream *s, event *e, long seen) {
    while (s ? !idle(s) : e ? e->done < seen : !all_idle()) {
        int ran = run_one();
        if (ran < 0) { violate("waits for an event that nothing will record"); return UNKNOWN; }
        if (!ran) pthread_cond_wait(&changed, &lock);
    }
    while (chance(3) == 0 && run_one() > 0) {}
    return OK;
}
static int live_stream(stream *s) { for (stream *o = streams; o; o = o->next) if (o == s) return 1; return 0; }
static int live_event(event *e) { for (event *o = events; o; o = o->next) if (o == e) return 1; return 0; }
static int enqueue(stream *s, op o) {
    pthread_mutex_lock(&lock);
    if (!live_stream(s)) { violate("work on a stream that is none"); pthread_mutex_unlock(&lock); return INVALID_HANDLE; }
    op *made = malloc(sizeof *made);
    *made = o;
    made->next = NULL;
    if (s->last) s->last->next = made; else s->first = made;
    s->last = made;
    int code = shuffled ? OK : run_until(s, NULL, 0);
    while (shuffled && chance(6) == 0 && run_one() > 0) {} /* a GPU may also be quick */
    pthread_mutex_unlock(&lock);
    return code;
}
static int copy(void *to, const void *from, size_t bytes, void *s) {
    if (!s) return INVALID_HANDLE; /* the default stream is not modelled */
    return enqueue(s, (op){.kind = COPY, .to = to, .from = from, .bytes = bytes});
}
static int give(size_t bytes, int pinned, unsigned flags, char **out) {
    pthread_mutex_lock(&lock);
    int code = OK;
    if (!pinned && used + bytes > limit) code = NO_MEMORY;
    else {
        memory *m = malloc(sizeof *m);
        m->at = aligned_alloc(512, (bytes + 511) / 512 * 512);
        m->bytes = bytes; m->pinned = pinned; m->flags = flags; m->next = memories;
        memset(m->at, 0xFF, bytes);
        memories = m;
        if (!pinned) used += bytes;
        *out = m->at;
    }
    pthread_mutex_unlock(&lock);
    return code;
}
static int take(char *at, int pinned) {
    int code = INVALID_VALUE;
    pthread_mutex_lock(&lock);
    for (memory **m = &memories; *m; m = &(*m)->next)
        if ((*m)->at == at && (*m)->pinned == pinned) {
            memory *found = *m;
            if (!all_idle()) violate("memory freed while work is queued");
            *m = found->next;
            if (!pinned) used -= found->bytes;
            memset(at, 0xFF, found->bytes);
            found->next = quarantine; quarantine = found; quarantined += found->bytes;
            code = OK;
            break;
        }
    while (quarantined > ((size_t)64 << 20)) { /* the newest are kept: reading freed memory gives NaN */
        memory **last = &quarantine;
        while ((*last)->next) last = &(*last)->next;
        quarantined -= (*last)->bytes; free((*last)->at); free(*last); *last = NULL;
    }
    if (code) violate("freed what was not allocated");
    pthread_mutex_unlock(&lock);
    return code;
}

/* The driver's functions. */
int cuGetProcAddress_v2(const char *symbol, void **out, int cuda_version, uint64_t flags, int *status);
int cuInit(unsigned flags) { (void)flags; initialized = 1; ENTER(0); return devices ? OK : NO_DEVICE; }
int cuDriverGetVersion(int *out) { *out = version; return OK; }
int cuDeviceGetCount(int *out) { ENTER(0); *out = devices; return OK; }
int cuDeviceGet(int *out, int at) { ENTER(0); if (at < 0 || at >= devices) return INVALID_DEVICE; *out = at; return OK; }
int cuDeviceGetName(char *out, int size, int at) { ENTER(0); snprintf(out, (size_t)size, "stub %d", at); return OK; }
int cuDeviceTotalMem_v2(size_t *out, int at) { (void)at; ENTER(0); *out = limit; return OK; }
int cuDeviceComputeCapability(int *major, int *minor, int at) {
    ENTER(0); *major = (capability + at) / 10; *minor = (capability + at) % 10; return OK;
}
int cuDeviceGetAttribute(int *out, int code, int at) {
    ENTER(0);
    if (at < 0 || at >= devices) return INVALID_DEVICE;
    *out = code == 20 ? modes[at] : code == 75 ? (capability + at) / 10 : code == 76 ? (capability + at) % 10 : 1;
    return OK;
}
int cuDevicePrimaryCtxRetain(void **out, int at) {
    ENTER(0);
    if (at < 0 || at >= devices) return INVALID_DEVICE;
    retained++; *out = contexts[at];
    return OK;
}
int cuDevicePrimaryCtxRelease_v2(int at) { (void)at; ENTER(0); retained--; return OK; }
int cuCtxPushCurrent_v2(void *context) {
    ENTER(0);
    for (int at = 0; at < DEVICES && depth < DEEPEST; at++)
        if (context == contexts[at]) { pushed[depth++] = at; return OK; }
    return INVALID_CONTEXT;
}
int cuCtxPopCurrent_v2(void **out) { if (sticky) depth--; ENTER(1); *out = contexts[pushed[--depth]]; return OK; }
int cuCtxGetCurrent(void **out) { ENTER(0); *out = depth ? contexts[pushed[depth - 1]] : NULL; return OK; }
int cuCtxGetDevice(int *out) { ENTER(1); *out = pushed[depth - 1]; return OK; }
int cuCtxSynchronize(void) { ENTER(1); int code; LOCKED(code = run_until(NULL, NULL, 0)); return code; }
int cuMemGetInfo_v2(size_t *left, size_t *total) { ENTER(1); *left = limit - used; *total = limit; return OK; }
int cuMemAlloc_v2(ptr *out, size_t bytes) { ENTER(1); char *at = NULL; int code = give(bytes, 0, 0, &at); *out = (ptr)at; return code; }
int cuMemFree_v2(ptr at) { ENTER(1); return take((char *)at, 0); }
int cuMemHostAlloc(void **out, size_t bytes, unsigned flags) { ENTER(1); return give(bytes, 1, flags, (char **)out); }
int cuMemAllocHost_v2(void **out, size_t bytes) { ENTER(1); return give(bytes, 1, 0, (char **)out); }
int cuMemFreeHost(void *at) { ENTER(1); return take(at, 1); }
int cuMemcpyHtoDAsync_v2(ptr to, const void *from, size_t bytes, void *s) { ENTER(1); return copy((void *)to, from, bytes, s); }
int cuMemcpyDtoHAsync_v2(void *to, ptr from, size_t bytes, void *s) { ENTER(1); return copy(to, (void *)from, bytes, s); }
int cuMemcpyDtoDAsync_v2(ptr to, ptr from, size_t bytes, void *s) { ENTER(1); return copy((void *)to, (void *)from, bytes, s); }
int cuStreamCreate(void **out, unsigned flags) {
    ENTER(1);
    stream *s = calloc(1, sizeof *s);
    s->flags = flags;
    LOCKED(s->next = streams; streams = s);
    *out = s;
    return OK;
}
int cuStreamDestroy_v2(void *at) {
    ENTER(1);
    pthread_mutex_lock(&lock);
    int code = INVALID_HANDLE;
    if (live_stream(at)) {
        code = run_until(at, NULL, 0);
        for (stream **s = &streams; *s; s = &(*s)->next) if (*s == at) { *s = (*s)->next; break; }
        free(at);
    } else violate("destroyed a stream twice");
    pthread_mutex_unlock(&lock);
    return code;
}
int cuStreamSynchronize(void *at) {
    ENTER(1);
    int code = INVALID_HANDLE;
    LOCKED(if (live_stream(at)) code = run_until(at, NULL, 0));
    return code;
}
int cuStreamQuery(void *at) {
    ENTER(1);
    int code = INVALID_HANDLE;
    LOCKED(if (live_stream(at)) code = idle(at) ? OK : NOT_READY);
    return code;
}
int cuStreamWaitEvent(void *at, void *e, unsigned flags) {
    (void)flags; ENTER(1);
    if (!live_event(e)) return INVALID_HANDLE;
    return enqueue(at, (op){.kind = WAIT, .event = e, .seen = ((event *)e)->recorded});
}
int cuEventCreate(void **out, unsigned flags) {
    ENTER(1);
    event *e = calloc(1, sizeof *e);
    e->flags = flags;
    LOCKED(e->next = events; events = e);
    *out = e;
    return OK;
}
int cuEventDestroy_v2(void *at) {
    ENTER(1);
    pthread_mutex_lock(&lock);
    int code = INVALID_HANDLE;
    for (event **e = &events; *e; e = &(*e)->next)
        if (*e == at) {
            if ((*e)->done < (*e)->recorded) violate("destroyed an event that is still awaited");
            *e = (*e)->next; code = OK; break; /* its few bytes stay: what is queued may still record it */
        }
    pthread_mutex_unlock(&lock);
    return code;
}
int cuEventRecord(void *at, void *s) {
    ENTER(1);
    if (!live_event(at)) return INVALID_HANDLE;
    event *e = at;
    return enqueue(s, (op){.kind = RECORD, .event = e, .seen = ++e->recorded});
}
int cuEventSynchronize(void *at) {
    ENTER(1);
    int code = INVALID_HANDLE;
    LOCKED(if (live_event(at)) code = run_until(NULL, at, ((event *)at)->recorded));
    return code;
}
int cuEventQuery(void *at) {
    ENTER(1);
    if (!live_event(at)) return INVALID_HANDLE;
    return ((event *)at)->done >= ((event *)at)->recorded ? OK : NOT_READY;
}
int cuEventElapsedTime_v2(float *out, void *from, void *to) { (void)from; (void)to; ENTER(1); *out = 1; return OK; }
int cuLaunchHostFunc(void *s, host_function call, void *data) {
    ENTER(1);
    return enqueue(s, (op){.kind = CALL, .call = call, .data = data});
}
int cuGetErrorString(int code, const char **out) {
    *out = code == NO_MEMORY ? "out of memory" : code == INVALID_CONTEXT ? "invalid device context"
         : code == 46 ? "CUDA-capable device(s) is/are busy or unavailable"
         : code == 719 ? "unspecified launch failure" : code == NO_DEVICE ? "no CUDA-capable device is detected"
         : code == INVALID_HANDLE ? "invalid resource handle" : "stub error";
    return OK;
}
int cuGetErrorName(int code, const char **out) { return cuGetErrorString(code, out); }

/* What the tests ask and tell. */
void stub_reset(int in_shuffled_order, unsigned long long with_seed) {
    memset(injected, 0, sizeof injected);
    shuffled = in_shuffled_order; seed = with_seed * 2654435761u + 88172645463325252ull;
    limit = (size_t)8 << 30; version = 13000; capability = 89; devices = 1; violations = 0; reason[0] = 0;
    sticky = 0;
    memset(modes, 0, sizeof modes);
}
/* From now on nothing works any longer in this process, as after a kernel's fault. */
void stub_break(int code) { sticky = code; }
/* A new process's GPU: what was not freed is nobody's. */
void stub_forget(void) { LOCKED(memories = NULL; streams = NULL; events = NULL; used = 0); }
void stub_mode(int compute_mode, int at) { modes[at] = compute_mode; }
void stub_device(int count, int compute_capability, int driver_version, size_t bytes) {
    devices = count; capability = compute_capability; version = driver_version; limit = used + bytes;
}
void stub_inject(const char *name, int code, int after) {
    for (int i = 0; i < 8; i++)
        if (!injected[i].code) {
            snprintf(injected[i].name, sizeof injected[i].name, "%s", name);
            injected[i].code = code; injected[i].after = after;
            return;
        }
}
int stub_violations(const char **why) { *why = reason; return violations; }
/* Whether a kernel may touch these bytes; called while a host function runs. */
int stub_touch(const void *at, size_t bytes) {
    int fine;
    LOCKED(fine = owner(at, bytes) != NULL; if (!fine) violate("a kernel outside of device memory"));
    return fine;
}
int stub_depth(void) { return depth; }
/* The device whose context is current on this thread; -1 where there is none. */
int stub_current(void) { return depth ? pushed[depth - 1] : -1; }
unsigned long long stub_calls(void) { return calls; }
/* Live: device allocations, pinned ones, streams, events, retained contexts. */
void stub_live(int *out) {
    memset(out, 0, 5 * sizeof *out);
    pthread_mutex_lock(&lock);
    for (memory *m = memories; m; m = m->next) out[m->pinned]++;
    for (stream *s = streams; s; s = s->next) out[2]++;
    for (event *e = events; e; e = e->next) out[3]++;
    out[4] = retained;
    pthread_mutex_unlock(&lock);
}
/* The flags of what is live, in the order in which it was made: 1 of pinned memory, 2 streams, 3 events; with
   kind 0 and 4 the bytes of device and of pinned memory. Gives their number. */
int stub_flags(int kind, unsigned long long *out, int most) {
    int count = 0;
    pthread_mutex_lock(&lock);
    for (memory *m = memories; m && kind % 4 < 2; m = m->next)
        if (m->pinned == (kind != 0) && count < most) out[count++] = kind == 1 ? m->flags : m->bytes;
    for (stream *s = streams; s && kind == 2; s = s->next) if (count < most) out[count++] = s->flags;
    for (event *e = events; e && kind == 3; e = e->next) if (count < most) out[count++] = e->flags;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < count / 2; i++) { unsigned long long t = out[i]; out[i] = out[count - 1 - i]; out[count - 1 - i] = t; }
    return count;
}
#include "rest.h" /* whatever else PyCUDA links against, answering NOT_SUPPORTED; KNOWN, names and addresses of all */
/* How cuda-bindings finds functions: by the name without the _v2 of the newest kind. */
int cuGetProcAddress_v2(const char *symbol, void **out, int cuda_version, uint64_t flags, int *status) {
    (void)cuda_version; (void)flags;
    char newest[80];
    snprintf(newest, sizeof newest, "%s_v2", symbol);
    *out = NULL;
    for (const struct known *k = KNOWN; k->name; k++)
        if (!strcmp(k->name, newest) || (!*out && !strcmp(k->name, symbol))) *out = k->at;
    if (status) *status = *out ? 0 : 1;
    return *out ? OK : NOT_FOUND;
}
