//! Users: discovery, and who uses which device.

use connector_mssql::{SqlDataset, dataset::Range};

use super::EACH_DEVICE;

const USERS: &str = "Users";

/// Users that discovery found. Unique is the id alone: a user who was made anew has two rows until
/// the old one ages out.
///
/// Whatever attribute a site adds to discovery is a further column: `override` takes it.
pub(super) const R_USER: SqlDataset = SqlDataset {
    name: "v_R_User",
    category: USERS,
    about: "users that discovery found",
    from: "v_R_User u",
    columns: columns! { u =>
        [key int]: ResourceID;
        int: ResourceType;
        text: Name0, Unique_User_Name0, User_Name0, Full_User_Name0, User_Principal_Name0, Mail0,
            Windows_NT_Domain0, Full_Domain_Name0, Distinguished_Name0, SID0;
        uuid: Object_GUID0, AADUserID, AADTenantID, CloudUserId;
        int: User_Account_Control0, Primary_Group_ID0;
        text: Network_Operating_System0;
        local: Creation_Date0, AD_Object_Creation_Time0;
    },
    // Without discovery of users there are none.
    optional: true,
    ..SqlDataset::NEW
}
.checked();

/// Who used the console of which device for how long, from its security log.
pub(super) const SYSTEM_CONSOLE_USER: SqlDataset = SqlDataset {
    name: "v_GS_SYSTEM_CONSOLE_USER",
    category: USERS,
    about: "who used which device for how long",
    from: "v_GS_SYSTEM_CONSOLE_USER i",
    columns: inventory! {
        text: SystemConsoleUser0;
        local: LastConsoleUse0;
        int: NumberOfConsoleLogons0, TotalUserConsoleMinutes0;
    },
    optional: true,
    range: Some(Range::of("i.ResourceID").keys(EACH_DEVICE, 10)),
    ..SqlDataset::NEW
}
.checked();
