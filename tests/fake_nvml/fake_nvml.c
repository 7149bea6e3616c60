/* A libnvidia-ml.so.1 without a GPU: what the driver would say is read from a file.
 *
 * FAKE_NVML        the GPUs, as `NVIDIA A100-SXM4-80GB:2,NVIDIA L40S:1`.
 * FAKE_NVML_STATE  path of a file of lines `[@AT_S] INDEX KEY VALUE`, read anew at every question,
 *                  so that a test can also script values by replacing it. A key that is not there
 *                  is not supported by that GPU. INDEX is that of a GPU, or as `0.1` of a MIG
 *                  instance of one. Keys: total_mib, used_mib, gpu_percent, memory_percent,
 *                  power_mw, power_instant_mw, limit_mw, default_limit_mw, energy_mj,
 *                  temperature_c, sm_mhz, application_mhz, default_application_mhz, reasons,
 *                  capability as `8.0`, persistence, compute_mode, ecc and mig with what comes after the next start, as
 *                  `1:0`; and any number of `process PID:MIB` (MIB `?`: not told), `graphics
 *                  PID:MIB` and `instance PROFILE:MIB`, as `instance 3g.40gb:40192`.
 * FAKE_NVML_DRIVER the driver's release; default 999.1-fake.
 * FAKE_NVML_CUDA   the newest CUDA that it runs, as 12040 for 12.4; without it, it does not tell.
 * FAKE_NVML_FAILS  functions that fail, with the nvmlReturn_t that each gives, by the names they are
 *                  exported by: `nvmlInitWithFlags=18,nvmlDeviceGetUUID=999`. With `hangs` for the
 *                  number it never returns and blocks every signal that can be blocked, with `dies`
 *                  it ends the process.
 * FAKE_NVML_NODE   a number that is part of the UUIDs, so that two nodes differ; default 0.
 *
 * Over time. A line that begins with @AT_S holds from that second on: of several the latest, and
 * before those without a time, of which the first holds. VALUE may be `none` (not supported), `!N`
 * (nvmlReturn_t N), or two and more SECOND:NUMBER, a line from point to point that is level before
 * the first and after the last: `0 power_mw 0:100000 10:300000`. `process PID:-` ends that
 * process. `fails N`: whatever is asked of that GPU is answered by nvmlReturn_t N (15: it is lost).
 *
 * FAKE_NVML_NOW    what second it is, for a test that turns the clock itself; without it:
 * FAKE_NVML_START  CLOCK_MONOTONIC, in seconds, when second 0 was; default: the first nvmlInit.
 *
 * Names and layouts are those that nvidia-ml-py 13 calls; what is missing here it reports as
 * "function not found", as with an old driver. There is no CUDA behind it.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9 };
enum { MOST_GPUS = 64, MOST_INSTANCES = 7, MOST_PROCESSES = 256, MOST_POINTS = 64 };
enum { CLOCK_GRAPHICS = 0, CLOCK_SM = 1, FIELD_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186 };
#define MIB (1024ULL * 1024ULL)

/* `id` names it in the state file. The driver's handle of an instance is one of its own. */
typedef struct Device { int index, part; char id[16], name[96]; struct Device *parent; } Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Rates;
typedef struct { unsigned version; int sensor; int temperature; } Temperature;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct {
    char legacy_bus_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} Pci;
typedef struct {
    unsigned field, scope;
    int64_t timestamp, latency_us;
    int type, code;
    union { double real; unsigned whole; unsigned long long large; } value;
} FieldValue;
typedef struct {
    unsigned multiprocessors, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
    unsigned long long memory_mb;
} Attributes;

static Device devices[MOST_GPUS], parts[MOST_GPUS][MOST_INSTANCES];
static int count;
static double begun_s = -1;

static double clock_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double now_s(void) {
    const char *now = getenv("FAKE_NVML_NOW"), *start = getenv("FAKE_NVML_START");
    if (now) return atof(now);
    return clock_s() - (start ? atof(start) : begun_s);
}

/* What FAKE_NVML_FAILS says of a function; SUCCESS: nothing. */
static int told_to_fail(const char *function) {
    const char *all = getenv("FAKE_NVML_FAILS");
    size_t length = strlen(function);
    for (const char *at = all ? all : ""; *at; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, function, length) || at[length] != '=') continue;
        if (!strncmp(at + length + 1, "dies", 4)) abort();
        if (strncmp(at + length + 1, "hangs", 5)) return atoi(at + length + 1);
        sigset_t every;
        sigfillset(&every);
        sigprocmask(SIG_BLOCK, &every, NULL);
        for (;;) pause();
    }
    return SUCCESS;
}

/* At the head of every function that is exported. */
#define MAY_FAIL() do { int told = told_to_fail(__func__); if (told != SUCCESS) return told; } while (0)

static char *state;
static struct stat state_of;

/* The state file's text, read again only when it was changed or replaced; empty if there is none. */
static const char *state_text(void) {
    const char *path = getenv("FAKE_NVML_STATE");
    struct stat now;
    if (!path || stat(path, &now)) return "";
    if (state && now.st_ino == state_of.st_ino && now.st_size == state_of.st_size &&
        now.st_mtim.tv_sec == state_of.st_mtim.tv_sec && now.st_mtim.tv_nsec == state_of.st_mtim.tv_nsec)
        return state;
    FILE *file = fopen(path, "r");
    free(state);
    state = calloc(1, (size_t)now.st_size + 1);
    if (!file || !state) return "";
    state[fread(state, 1, (size_t)now.st_size, file)] = 0;
    fclose(file);
    state_of = now;
    return state;
}

/* Calls `visit` with when each line of a key begins to hold (below 0: always) and what it says,
   until it returns 0. Lines of the future are left out. */
static void each_line(const Device *device, const char *key, int (*visit)(double, const char *, void *), void *to) {
    char line[1024], id[16], name[64];
    double now = now_s();
    for (const char *text = state_text(); *text; text += strcspn(text, "\n"), text += *text == '\n') {
        double at = -1;
        int skipped = 0, used = 0;
        snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
        if (line[0] == '@' && sscanf(line, "@%lf%n", &at, &skipped) != 1) continue;
        if (at > now || sscanf(line + skipped, "%15s %63s %n", id, name, &used) != 2) continue;
        if (strcmp(id, device->id) || strcmp(name, key)) continue;
        if (!visit(at, line + skipped + used, to)) break;
    }
}

typedef struct { double at; int found; char text[1024]; } Line;

static int take_latest(double at, const char *text, void *to) {
    Line *latest = to;
    if (!latest->found || (at >= 0 && at >= latest->at)) {
        latest->found = 1;
        latest->at = at;
        snprintf(latest->text, sizeof latest->text, "%s", text);
    }
    return 1;
}

static Line line_of(const Device *device, const char *key) {
    Line line = {-1, 0, ""};
    each_line(device, key, take_latest, &line);
    return line;
}

static unsigned long long rounded(double value) { return (unsigned long long)(value + 0.5); }

/* A number, or what a line from point to point is at now. */
static unsigned long long value_of(const char *text) {
    double seconds[MOST_POINTS], values[MOST_POINTS], now = now_s();
    int points = 0, used = 0;
    for (const char *rest = text; points < MOST_POINTS; rest += used, points++)
        if (sscanf(rest, " %lf:%lf%n", &seconds[points], &values[points], &used) != 2) break;
    if (points < 2) return strtoull(text, NULL, 0);
    if (now <= seconds[0]) return rounded(values[0]);
    for (int i = 1; i < points; i++)
        if (now <= seconds[i]) {
            double share = (now - seconds[i - 1]) / (seconds[i] - seconds[i - 1]);
            return rounded(values[i - 1] + share * (values[i] - values[i - 1]));
        }
    return rounded(values[points - 1]);
}

/* What every question about that GPU is answered by, its instances included. */
static int failure(const Device *device) {
    Line line = line_of(device->parent ? device->parent : device, "fails");
    return line.found ? atoi(line.text) : SUCCESS;
}

typedef struct { int code; unsigned long long number; } Found;

static Found look_up(const Device *device, const char *key) {
    Found found = {failure(device), 0};
    Line line = line_of(device, key);
    if (found.code != SUCCESS) return found;
    if (!line.found || !strncmp(line.text, "none", 4))
        found.code = NOT_SUPPORTED;
    else if (line.text[0] == '!')
        found.code = atoi(line.text + 1);
    else
        found.number = value_of(line.text);
    return found;
}

static unsigned long long number_or(const Device *device, const char *key, unsigned long long otherwise) {
    Found found = look_up(device, key);
    return found.code == SUCCESS ? found.number : otherwise;
}

static int answer(const Device *device, const char *key, unsigned *value) {
    Found found = look_up(device, key);
    *value = (unsigned)found.number;
    return found.code;
}

static int answer_long(const Device *device, const char *key, unsigned long long *value) {
    Found found = look_up(device, key);
    *value = found.number;
    return found.code;
}

/* The power of an instance is that of its whole GPU, as real drivers have it. */
static const Device *metered(const Device *device) {
    return device->parent ? device->parent : device;
}

static int answer_of_whole(const Device *device, const char *key, unsigned *value) {
    return device->parent ? INVALID_ARGUMENT : answer(device, key, value);
}

int nvmlInitWithFlags(unsigned flags) {
    MAY_FAIL();
    const char *given = getenv("FAKE_NVML");
    char text[4096], *rest = NULL;
    (void)flags;
    if (begun_s < 0) begun_s = clock_s();
    count = 0;
    if (!given || !*given) return DRIVER_NOT_LOADED;
    snprintf(text, sizeof text, "%s", given);
    for (char *kind = strtok_r(text, ",", &rest); kind; kind = strtok_r(NULL, ",", &rest)) {
        char *colon = strrchr(kind, ':');
        int copies = colon ? atoi(colon + 1) : 1;
        if (colon) *colon = 0;
        for (; copies > 0 && count < MOST_GPUS; copies--, count++) {
            Device *device = &devices[count];
            *device = (Device){count, -1, "", "", NULL};
            snprintf(device->id, sizeof device->id, "%d", count);
            snprintf(device->name, sizeof device->name, "%s", kind);
        }
    }
    return SUCCESS;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    return code == NOT_SUPPORTED ? "Not Supported" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" :
           code == 15 ? "GPU is lost" : "Fake Error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    MAY_FAIL();
    const char *driver = getenv("FAKE_NVML_DRIVER");
    snprintf(text, length, "%s", driver ? driver : "999.1-fake");
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    MAY_FAIL();
    const char *cuda = getenv("FAKE_NVML_CUDA");
    *version = cuda ? atoi(cuda) : 0;
    return cuda ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCount_v2(unsigned *to) {
    MAY_FAIL();
    *to = (unsigned)count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    MAY_FAIL();
    if ((int)index >= count) return INVALID_ARGUMENT;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(const Device *device, char *text, unsigned length) {
    MAY_FAIL();
    const char *given = getenv("FAKE_NVML_NODE");
    int node = given ? atoi(given) : 0;
    if (device->parent)
        snprintf(text, length, "MIG-fa4e0000-0000-%04d-%04d-%012d", node, device->index, device->part);
    else
        snprintf(text, length, "GPU-fa4e0000-0000-0000-%04d-%012d", node, device->index);
    return SUCCESS;
}

static int is_parted(const Device *device) {
    return line_of(device, "mig").text[0] == '1';
}

typedef struct { Device *device; int wanted, seen; unsigned long long mib; } Search;

static int take_instance(double at, const char *text, void *to) {
    Search *search = to;
    char profile[48];
    (void)at;
    if (sscanf(text, "%47[^:]:%llu", profile, &search->mib) != 2 || search->seen++ != search->wanted) return 1;
    Device *parent = search->device, *found = &parts[parent->index][search->wanted];
    *found = (Device){parent->index, search->wanted, "", "", parent};
    snprintf(found->id, sizeof found->id, "%d.%d", parent->index, search->wanted);
    snprintf(found->name, sizeof found->name, "%.40s MIG %s", parent->name, profile);
    search->device = found;
    return 0;
}

static int find_instance(Device *device, unsigned part, Device **instance, unsigned long long *mib) {
    Search search = {device, (int)part, 0, 0};
    if (part >= MOST_INSTANCES || !is_parted(device)) return NOT_FOUND;
    each_line(device, "instance", take_instance, &search);
    *instance = search.device;
    *mib = search.mib;
    return search.device == device ? NOT_FOUND : SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(const Device *device, unsigned *most) {
    MAY_FAIL();
    *most = line_of(device, "mig").found ? MOST_INSTANCES : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned part, Device **instance) {
    MAY_FAIL();
    unsigned long long mib;
    int code = failure(device);
    return code != SUCCESS ? code : find_instance(device, part, instance, &mib);
}

int nvmlDeviceIsMigDeviceHandle(const Device *device, unsigned *is_instance) {
    MAY_FAIL();
    *is_instance = device->parent != NULL;
    return SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(const Device *instance, Device **device) {
    MAY_FAIL();
    *device = instance->parent;
    return instance->parent ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetGpuInstanceId(const Device *instance, unsigned *number) {
    MAY_FAIL();
    *number = (unsigned)instance->part;
    return instance->parent ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetComputeInstanceId(const Device *instance, unsigned *number) {
    MAY_FAIL();
    *number = 0;
    return instance->parent ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    MAY_FAIL();
    char own[96];
    unsigned long long mib;
    for (int index = 0; index < count; index++)
        for (int part = -1; part < MOST_INSTANCES; part++) {
            *device = &devices[index];
            if (part >= 0 && find_instance(&devices[index], (unsigned)part, device, &mib) != SUCCESS) break;
            nvmlDeviceGetUUID(*device, own, sizeof own);
            if (!strcmp(own, uuid)) return failure(*device);
        }
    return NOT_FOUND;
}

int nvmlDeviceGetName(const Device *device, char *text, unsigned length) {
    MAY_FAIL();
    snprintf(text, length, "%s", device->name);
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(const Device *device, int *major, int *minor) {
    MAY_FAIL();
    Line line = line_of(device, "capability");
    int code = failure(device);
    if (code != SUCCESS) return code;
    return sscanf(line.text, "%d.%d", major, minor) == 2 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetPciInfo_v3(const Device *device, Pci *pci) {
    MAY_FAIL();
    memset(pci, 0, sizeof *pci);
    pci->bus = (unsigned)device->index + 1;
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
    snprintf(pci->legacy_bus_id, sizeof pci->legacy_bus_id, "0000:%02X:00.0", pci->bus);
    return SUCCESS;
}

static unsigned long long total_mib(const Device *device) {
    Device *instance;
    unsigned long long mib;
    if (device->parent && find_instance(device->parent, (unsigned)device->part, &instance, &mib) == SUCCESS)
        return mib;
    return number_or(device, "total_mib", 81920);
}

int nvmlDeviceGetMemoryInfo(const Device *device, Memory *memory) {
    MAY_FAIL();
    memory->total = total_mib(device) * MIB;
    memory->used = number_or(device, "used_mib", 0) * MIB;
    memory->free = memory->total - memory->used;
    return failure(device);
}

int nvmlDeviceGetMemoryInfo_v2(const Device *device, MemoryV2 *memory) {
    MAY_FAIL();
    Memory old;
    int code = nvmlDeviceGetMemoryInfo(device, &old);
    memory->total = old.total;
    memory->reserved = 0;
    memory->free = old.free;
    memory->used = old.used;
    return code;
}

int nvmlDeviceGetUtilizationRates(const Device *device, Rates *rates) {
    MAY_FAIL();
    if (device->parent || is_parted(device)) return NOT_SUPPORTED;
    rates->memory = (unsigned)number_or(device, "memory_percent", 0);
    return answer(device, "gpu_percent", &rates->gpu);
}

int nvmlDeviceGetPowerUsage(const Device *device, unsigned *milliwatts) {
    MAY_FAIL();
    return answer(metered(device), "power_mw", milliwatts);
}

int nvmlDeviceGetFieldValues(const Device *device, int many, FieldValue *fields) {
    MAY_FAIL();
    for (int i = 0; i < many; i++) {
        FieldValue *field = &fields[i];
        const char *key = field->field == FIELD_POWER_INSTANT ? "power_instant_mw" :
                          field->field == FIELD_POWER_AVERAGE ? "power_mw" :
                          field->field == FIELD_ENERGY ? "energy_mj" : "";
        field->value.large = 0;
        field->type = field->field == FIELD_ENERGY ? 3 : 1; /* unsigned long long, unsigned int */
        field->code = *key && !field->scope ? answer_long(metered(device), key, &field->value.large) : NOT_SUPPORTED;
    }
    return failure(device);
}

int nvmlDeviceGetPowerManagementLimit(const Device *device, unsigned *milliwatts) {
    MAY_FAIL();
    return answer(device, "limit_mw", milliwatts);
}

int nvmlDeviceGetPowerManagementDefaultLimit(const Device *device, unsigned *milliwatts) {
    MAY_FAIL();
    return answer(device, "default_limit_mw", milliwatts);
}

int nvmlDeviceGetTotalEnergyConsumption(const Device *device, unsigned long long *millijoules) {
    MAY_FAIL();
    return answer_long(metered(device), "energy_mj", millijoules);
}

int nvmlDeviceGetTemperature(const Device *device, int sensor, unsigned *degrees) {
    MAY_FAIL();
    (void)sensor;
    return answer_of_whole(device, "temperature_c", degrees);
}

int nvmlDeviceGetTemperatureV(const Device *device, Temperature *temperature) {
    MAY_FAIL();
    return answer_of_whole(device, "temperature_c", (unsigned *)&temperature->temperature);
}

int nvmlDeviceGetClockInfo(const Device *device, int clock, unsigned *mhz) {
    MAY_FAIL();
    return clock == CLOCK_SM ? answer_of_whole(device, "sm_mhz", mhz) : NOT_SUPPORTED;
}

int nvmlDeviceGetApplicationsClock(const Device *device, int clock, unsigned *mhz) {
    MAY_FAIL();
    return clock == CLOCK_GRAPHICS ? answer(device, "application_mhz", mhz) : NOT_SUPPORTED;
}

int nvmlDeviceGetDefaultApplicationsClock(const Device *device, int clock, unsigned *mhz) {
    MAY_FAIL();
    return clock == CLOCK_GRAPHICS ? answer(device, "default_application_mhz", mhz) : NOT_SUPPORTED;
}

int nvmlDeviceGetPersistenceMode(const Device *device, unsigned *on) {
    MAY_FAIL();
    return answer(device, "persistence", on);
}

int nvmlDeviceGetComputeMode(const Device *device, unsigned *mode) {
    MAY_FAIL();
    return answer(device, "compute_mode", mode);
}

static int answer_pair(const Device *device, const char *key, unsigned *current, unsigned *pending) {
    Line line = line_of(device, key);
    int code = failure(device);
    if (code != SUCCESS) return code;
    return sscanf(line.text, "%u:%u", current, pending) == 2 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetEccMode(const Device *device, unsigned *current, unsigned *pending) {
    MAY_FAIL();
    return answer_pair(device, "ecc", current, pending);
}

int nvmlDeviceGetMigMode(const Device *device, unsigned *current, unsigned *pending) {
    MAY_FAIL();
    return answer_pair(device, "mig", current, pending);
}

int nvmlDeviceGetAttributes_v2(const Device *device, Attributes *attributes) {
    MAY_FAIL();
    const char *profile = strstr(device->name, "MIG ");
    memset(attributes, 0, sizeof *attributes);
    attributes->gpu_slices = attributes->compute_slices = profile ? (unsigned)atoi(profile + 4) : 0;
    attributes->memory_mb = total_mib(device);
    return device->parent ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCurrentClocksEventReasons(const Device *device, unsigned long long *reasons) {
    MAY_FAIL();
    return device->parent ? INVALID_ARGUMENT : answer_long(device, "reasons", reasons);
}

typedef struct { Process found[MOST_PROCESSES]; unsigned count; } Listing;

static int take_process(double at, const char *text, void *to) {
    Listing *listing = to;
    unsigned pid, place = 0;
    char mib[32];
    (void)at;
    if (sscanf(text, "%u:%31s", &pid, mib) != 2) return 1;
    while (place < listing->count && listing->found[place].pid != pid) place++;
    if (mib[0] == '-') {
        if (place < listing->count) listing->found[place] = listing->found[--listing->count];
        return 1;
    }
    if (place == MOST_PROCESSES) return 0;
    unsigned long long used = mib[0] == '?' ? ~0ULL : strtoull(mib, NULL, 10) * MIB;
    listing->found[place] = (Process){pid, used, ~0U, ~0U};
    if (place == listing->count) listing->count++;
    return 1;
}

static int list(const Device *device, const char *key, unsigned *room, Process *processes) {
    Listing listing = {.count = 0};
    unsigned given = processes ? *room : 0;
    int code = failure(device);
    if (code != SUCCESS) return code;
    if (line_of(device, key).text[0] == '!') return atoi(line_of(device, key).text + 1);
    each_line(device, key, take_process, &listing);
    *room = listing.count;
    for (unsigned i = 0; i < listing.count && i < given; i++) processes[i] = listing.found[i];
    return listing.count > given ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(const Device *device, unsigned *room, Process *processes) {
    MAY_FAIL();
    return list(device, "process", room, processes);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(const Device *device, unsigned *room, Process *processes) {
    MAY_FAIL();
    return list(device, "graphics", room, processes);
}
