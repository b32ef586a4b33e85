public import Foundation

extension EngineBench {
    /// What is measured, of which model.
    public struct Options: Sendable {
        /// Folder of a checkpoint, or of a `config.json` alone.
        public var model = ""
        /// Whether weights are made up from the config.
        public var invents = false
        /// As the engine's settings.
        public var device = "cpu"
        /// As the engine's settings.
        public var dtype = "auto"
        /// As the engine's settings.
        public var quantize = "none"
        /// Numbers of sequences that decode together.
        public var batches: [Int] = []
        /// Lengths of prompts.
        public var prefills: [Int] = []
        /// Requests that are sent at once and run to their end.
        public var streams: [Int] = []
        /// Tokens that each of those draws.
        public var generated = 64
        /// Images, each with a prompt of its tokens and a few more.
        public var images: [(width: Int, height: Int)] = []
        /// Tokens of the prompts of `batches` and `streams`.
        public var context = 1024
        /// In place of random ones.
        public var prompt: [Int32]?
        /// Timed steps of a decode row.
        public var steps = 64
        /// Times that a prompt is computed.
        public var repeats = 5
        /// Rows of a step; the server's setting.
        public var stepTokens = 512
        /// Compute threads on the CPU; nil: one a processor.
        public var threads: Int?
        /// GB/s that the device's memory gives, for the roofline.
        public var bandwidth: Double?
        /// TFLOP/s that the device multiplies with, for the roofline.
        public var arithmetic: Double?
        /// The file for the report, written again after each row.
        public var report: URL?

        /// Nothing of no model.
        public init() {}
    }
}
