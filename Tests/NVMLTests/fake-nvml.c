// Stands in for libnvidia-ml.so.1. A file says what it does, read at each call; its path is compiled in.
//
//   gpus TOTAL FREE [TOTAL FREE …]     GPUs with so many bytes, at 0000:01:00.0, 0000:02:00.0 …
//   fail CODE                          every call but nvmlErrorString returns the code
//   hang                               every call waits for ever
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    unsigned count;
    unsigned long long total[8], free[8];
} gpus;

static int play(void) {
    char verb[16] = "";
    int code = 0;
    FILE *file = fopen(SCRIPT, "r");
    if (!file) return 9;
    gpus.count = 0;
    if (fscanf(file, "%15s", verb) != 1) code = 9;
    if (!strcmp(verb, "fail") && fscanf(file, "%d", &code) != 1) code = 999;
    while (!strcmp(verb, "gpus") && gpus.count < 8
           && fscanf(file, "%llu %llu", &gpus.total[gpus.count], &gpus.free[gpus.count]) == 2)
        gpus.count++;
    fclose(file);
    while (!strcmp(verb, "hang")) pause();
    return code;
}

int nvmlInit_v2(void) { return play(); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Unknown Error"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    int code = play();
    *count = gpus.count;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    int code = play();
    *device = (void *)(size_t)(index + 1);
    return code;
}

int nvmlDeviceGetName(void *device, char *name, unsigned size) {
    snprintf(name, size, "Fake %zu", (size_t)device);
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
    int code = play();
    size_t place = (size_t)device - 1;
    memory[0] = gpus.total[place];
    memory[1] = gpus.free[place];
    memory[2] = gpus.total[place] - gpus.free[place];
    return code;
}

int nvmlDeviceGetPciInfo_v3(void *device, void *info) {
    struct {
        char legacy[16];
        unsigned domain, bus, device, ids, subsystem;
        char address[32];
    } *place = info;
    memset(place, 0, sizeof *place);
    place->bus = (unsigned)(size_t)device;
    return 0;
}
