internal import EngineLink

// GET /metrics: Prometheus' text form.
extension Application {
    func exposition(_ call: Call) {
        let status = engines.summary()
        let states = ["absent", "loading", "serving", "draining", "cool_down"]
        var gauges: [(String, Double)] = [
            ("torchgate_requests_running", Double(status.running)),
            ("torchgate_requests_waiting", Double(status.waiting)),
            ("torchgate_kv_tokens_used", Double(status.kvUsed)),
            ("torchgate_kv_tokens", Double(status.kvTotal)),
            ("torchgate_slots_free", Double(status.freeSlots)),
            ("torchgate_engine_resident_bytes", Double(status.residentBytes ?? 0)),
        ]
        let memory = memory.memory(of: engines)
        gauges += [
            ("torchgate_memory_allocated_bytes", Double(memory.allocated)),
            ("torchgate_memory_reserved_bytes", Double(memory.reserved)),
        ]
        if let total = memory.total, let free = memory.free {
            gauges += [
                ("torchgate_memory_total_bytes", Double(total)),
                ("torchgate_memory_free_bytes", Double(free)),
            ]
        }
        if let left = self.memory.lastLeft {
            gauges.append(("torchgate_unload_left_bytes", Double(left)))
        }
        let counters = [
            ("torchgate_engine_loads_total", Double(status.loads)),
            ("torchgate_engine_load_failures_total", Double(status.loadFailures)),
            ("torchgate_engine_unloads_total", Double(status.unloads)),
            ("torchgate_engine_crashes_total", Double(status.crashes)),
            ("torchgate_engine_hangs_total", Double(status.hangs)),
        ]
        let all = engines.summaries()
        for state in states {
            let engines = all.count { $0.state.rawValue == state }
            gauges.append(("torchgate_engine_state{state=\"\(state)\"}", Double(engines)))
        }
        call.send(
            status: 200,
            type: "text/plain; version=0.0.4; charset=utf-8",
            Array(metrics.text(gauges: gauges, counters: counters).utf8)
        )
    }
}
