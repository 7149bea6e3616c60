/* A libnvidia-ml.so.1 without a GPU: what the driver would say is read from a file.
 *
 * FAKE_NVML        the GPUs, as `NVIDIA A100-SXM4-80GB:2,NVIDIA L40S:1`.
 * FAKE_NVML_STATE  path of a file of lines `INDEX KEY VALUE`, read anew at every question, so that
 *                  a test can script values over time by replacing it. A key that is not there
 *                  is not supported by that GPU. Keys: total_mib, used_mib, gpu_percent,
 *                  memory_percent, power_mw, limit_mw, default_limit_mw, energy_mj, temperature_c,
 *                  sm_mhz, application_mhz, default_application_mhz, reasons, persistence,
 *                  compute_mode, ecc and mig with what comes after the next start, as `1:0`, and
 *                  any number of `process PID:MIB`.
 * FAKE_NVML_DRIVER the driver's release; default 999.1-fake.
 * FAKE_NVML_CUDA   the newest CUDA that it runs, as 12040 for 12.4; without it, it does not tell.
 * FAKE_NVML_NODE   a number that is part of the UUIDs, so that two nodes differ; default 0.
 *
 * Names and layouts are those that nvidia-ml-py 13 calls; what is missing here it reports as
 * "function not found", as with an old driver. There is no CUDA behind it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9 };
enum { MOST_GPUS = 64, CLOCK_GRAPHICS = 0, CLOCK_SM = 1 };
#define MIB (1024ULL * 1024ULL)

typedef struct { int index; char name[96]; } Device;
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

static Device devices[MOST_GPUS];
static int count;

/* Calls `visit` with each value of a key, until it returns 0. */
static void each_value(const Device *device, const char *key, int (*visit)(const char *, void *), void *to) {
    const char *path = getenv("FAKE_NVML_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256], name[64], value[128];
    int index;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%d %63s %127s", &index, name, value) == 3 && index == device->index &&
            !strcmp(name, key) && !visit(value, to))
            break;
    if (file) fclose(file);
}

typedef struct { int found; unsigned long long number; } Found;

static int take_number(const char *value, void *to) {
    Found *found = to;
    found->found = 1;
    found->number = strtoull(value, NULL, 10);
    return 0;
}

static Found look_up(const Device *device, const char *key) {
    Found found = {0, 0};
    each_value(device, key, take_number, &found);
    return found;
}

static unsigned long long number_or(const Device *device, const char *key, unsigned long long otherwise) {
    Found found = look_up(device, key);
    return found.found ? found.number : otherwise;
}

static int answer(const Device *device, const char *key, unsigned *value) {
    Found found = look_up(device, key);
    *value = (unsigned)found.number;
    return found.found ? SUCCESS : NOT_SUPPORTED;
}

static int answer_long(const Device *device, const char *key, unsigned long long *value) {
    Found found = look_up(device, key);
    *value = found.number;
    return found.found ? SUCCESS : NOT_SUPPORTED;
}

int nvmlInitWithFlags(unsigned flags) {
    const char *given = getenv("FAKE_NVML");
    char text[4096], *rest = NULL;
    (void)flags;
    count = 0;
    if (!given || !*given) return DRIVER_NOT_LOADED;
    snprintf(text, sizeof text, "%s", given);
    for (char *kind = strtok_r(text, ",", &rest); kind; kind = strtok_r(NULL, ",", &rest)) {
        char *colon = strrchr(kind, ':');
        int copies = colon ? atoi(colon + 1) : 1;
        if (colon) *colon = 0;
        for (; copies > 0 && count < MOST_GPUS; copies--, count++) {
            devices[count].index = count;
            snprintf(devices[count].name, sizeof devices[count].name, "%s", kind);
        }
    }
    return SUCCESS;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    return code == NOT_SUPPORTED ? "Not Supported" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Fake Error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    const char *driver = getenv("FAKE_NVML_DRIVER");
    snprintf(text, length, "%s", driver ? driver : "999.1-fake");
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    const char *cuda = getenv("FAKE_NVML_CUDA");
    *version = cuda ? atoi(cuda) : 0;
    return cuda ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCount_v2(unsigned *to) {
    *to = (unsigned)count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    if ((int)index >= count) return INVALID_ARGUMENT;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(const Device *device, char *text, unsigned length) {
    const char *node = getenv("FAKE_NVML_NODE");
    snprintf(text, length, "GPU-fa4e0000-0000-0000-%04d-%012d", node ? atoi(node) : 0, device->index);
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    char own[96];
    for (int index = 0; index < count; index++) {
        nvmlDeviceGetUUID(&devices[index], own, sizeof own);
        *device = &devices[index];
        if (!strcmp(own, uuid)) return SUCCESS;
    }
    return NOT_FOUND;
}

int nvmlDeviceGetName(const Device *device, char *text, unsigned length) {
    snprintf(text, length, "%s", device->name);
    return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(const Device *device, Pci *pci) {
    memset(pci, 0, sizeof *pci);
    pci->bus = (unsigned)device->index + 1;
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
    snprintf(pci->legacy_bus_id, sizeof pci->legacy_bus_id, "0000:%02X:00.0", pci->bus);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(const Device *device, Memory *memory) {
    memory->total = number_or(device, "total_mib", 81920) * MIB;
    memory->used = number_or(device, "used_mib", 0) * MIB;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(const Device *device, MemoryV2 *memory) {
    Memory old;
    nvmlDeviceGetMemoryInfo(device, &old);
    memory->total = old.total;
    memory->reserved = 0;
    memory->free = old.free;
    memory->used = old.used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(const Device *device, Rates *rates) {
    rates->memory = (unsigned)number_or(device, "memory_percent", 0);
    return answer(device, "gpu_percent", &rates->gpu);
}

int nvmlDeviceGetPowerUsage(const Device *device, unsigned *milliwatts) {
    return answer(device, "power_mw", milliwatts);
}

int nvmlDeviceGetPowerManagementLimit(const Device *device, unsigned *milliwatts) {
    return answer(device, "limit_mw", milliwatts);
}

int nvmlDeviceGetPowerManagementDefaultLimit(const Device *device, unsigned *milliwatts) {
    return answer(device, "default_limit_mw", milliwatts);
}

int nvmlDeviceGetTotalEnergyConsumption(const Device *device, unsigned long long *millijoules) {
    return answer_long(device, "energy_mj", millijoules);
}

int nvmlDeviceGetTemperature(const Device *device, int sensor, unsigned *degrees) {
    (void)sensor;
    return answer(device, "temperature_c", degrees);
}

int nvmlDeviceGetTemperatureV(const Device *device, Temperature *temperature) {
    return answer(device, "temperature_c", (unsigned *)&temperature->temperature);
}

int nvmlDeviceGetClockInfo(const Device *device, int clock, unsigned *mhz) {
    return clock == CLOCK_SM ? answer(device, "sm_mhz", mhz) : NOT_SUPPORTED;
}

int nvmlDeviceGetApplicationsClock(const Device *device, int clock, unsigned *mhz) {
    return clock == CLOCK_GRAPHICS ? answer(device, "application_mhz", mhz) : NOT_SUPPORTED;
}

int nvmlDeviceGetDefaultApplicationsClock(const Device *device, int clock, unsigned *mhz) {
    return clock == CLOCK_GRAPHICS ? answer(device, "default_application_mhz", mhz) : NOT_SUPPORTED;
}

int nvmlDeviceGetPersistenceMode(const Device *device, unsigned *on) {
    return answer(device, "persistence", on);
}

int nvmlDeviceGetComputeMode(const Device *device, unsigned *mode) {
    return answer(device, "compute_mode", mode);
}

typedef struct { int found; unsigned current, pending; } Pair;

static int take_pair(const char *value, void *to) {
    Pair *pair = to;
    pair->found = sscanf(value, "%u:%u", &pair->current, &pair->pending) == 2;
    return 0;
}

static int answer_pair(const Device *device, const char *key, unsigned *current, unsigned *pending) {
    Pair pair = {0, 0, 0};
    each_value(device, key, take_pair, &pair);
    *current = pair.current;
    *pending = pair.pending;
    return pair.found ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetEccMode(const Device *device, unsigned *current, unsigned *pending) {
    return answer_pair(device, "ecc", current, pending);
}

int nvmlDeviceGetMigMode(const Device *device, unsigned *current, unsigned *pending) {
    return answer_pair(device, "mig", current, pending);
}

int nvmlDeviceGetCurrentClocksEventReasons(const Device *device, unsigned long long *reasons) {
    return answer_long(device, "reasons", reasons);
}

typedef struct { Process *processes; unsigned room, count; } Listing;

static int take_process(const char *value, void *to) {
    Listing *listing = to;
    unsigned pid;
    unsigned long long mib;
    if (sscanf(value, "%u:%llu", &pid, &mib) == 2) {
        if (listing->count < listing->room)
            listing->processes[listing->count] = (Process){pid, mib * MIB, ~0U, ~0U};
        listing->count++;
    }
    return 1;
}

int nvmlDeviceGetComputeRunningProcesses_v3(const Device *device, unsigned *room, Process *processes) {
    Listing listing = {processes, processes ? *room : 0, 0};
    each_value(device, "process", take_process, &listing);
    *room = listing.count;
    return listing.count > listing.room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(const Device *device, unsigned *room, Process *processes) {
    (void)device;
    (void)processes;
    *room = 0;
    return SUCCESS;
}
