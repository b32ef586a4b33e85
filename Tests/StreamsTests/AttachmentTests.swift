import Streams
import Testing

@Suite struct AttachmentTests {
    @Test func `only the last reader's leaving has consequences`() {
        var attachment = Attachment()
        let settings = StreamSettings()
        attachment.attach()
        attachment.attach()
        let left1 = attachment.detach(now: 5, isExplicit: false, settings: settings)
        #expect(!left1)
        #expect(attachment.deadline == nil)
        let left2 = attachment.detach(now: 5, isExplicit: false, settings: settings)
        #expect(left2)
        #expect(attachment.readers == 0)
    }

    @Test func `coming back lifts the deadline`() {
        var attachment = Attachment()
        attachment.attach()
        let left3 = attachment.detach(now: 5, isExplicit: true, settings: StreamSettings())
        #expect(!left3)
        #expect(attachment.deadline == 3605)
        #expect(!attachment.isDue(now: 3604))
        #expect(attachment.isDue(now: 3605))
        attachment.attach()
        #expect(!attachment.isDue(now: 1e9))
    }

    @Test func `more leave-takings than readers do no harm`() {
        var attachment = Attachment()
        let left4 = attachment.detach(now: 0, isExplicit: true, settings: StreamSettings())
        #expect(!left4)
        #expect(attachment.readers == 0)
    }
}
